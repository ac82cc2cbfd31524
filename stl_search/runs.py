"""A whole run, from Python as from the command line: search, winners, files, report.

`stl_search.run` is `run` here. (The file has another name: importing a module called `run` would hide the
function.) What does not belong here: one trial (`trials`), the plan and its workers (`study`), judging
(`judging`).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stl_algebra.algorithms.judged import Judged
from stl_algebra.errors import InvalidInput, NothingFound
from stl_algebra.progress import Progress
from stl_search.frontier.winners import choose_winners, read_winners, write_winners
from stl_search.matrices.names import DEFAULT_MATRICES
from stl_search.matrices.pair import MatrixPair
from stl_search.matrices.readers import load_matrices
from stl_search.report.content import Content, collect
from stl_search.report.write import write_report
from stl_search.study.database import PATIENCE
from stl_search.study.opened import Study
from stl_search.study.plan import Settings
from stl_search.study.results import finished_algorithms, trial_table
from stl_search.study.run_folder import Run, read_run, read_trials, start_run, write_trials
from stl_search.study.storage import open_storage, open_study
from stl_search.study.workers import State, search

#: Seconds that a run takes when neither trials nor a budget are given.
DEFAULT_BUDGET = 60.0


@dataclass(frozen=True)
class Result:
    """What a run ended with.

    Attributes:
        content: everything that the report says; `content.run.folder` is where the files are.
        interrupted: Ctrl-C ended the search; what was finished is in `content`, and the same call continues.
    """

    content: Content
    interrupted: bool

    @property
    def winners(self) -> dict[int, Judged]:
        """The best algorithm of every rank that no smaller rank beats, by rank."""
        return self.content.winners

    @property
    def report(self) -> Path:
        """The page to open in a browser."""
        return self.content.run.folder / "report.html"


def run(
    *,
    matrices: Sequence[str] = DEFAULT_MATRICES,
    trials: int | None = None,
    budget: float | None = None,
    jobs: int = 1,
    storage: str = "",
    out: str | Path | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Result:
    """Search encoders, score them on matrices, save the winners and write a report: `stl-search run`.

    A run that was stopped is continued by the same call. Workers are processes: call it from a
    file whose own code stands under `if __name__ == "__main__":`.

    Args:
        matrices: what to score on, see `matrices.readers.load_matrices`.
        trials: entries of the plan to work off.
        budget: or seconds to search; 60 when neither is given.
        jobs: worker processes.
        storage: URL of a PostgreSQL database shared by several machines; default: SQLite in the folder.
        out: the run folder; default: results/ and the settings.
        progress: called with (what, done, of) now and then.
        settings: groups, tile, rank, dtype, seed, families and profile, as `study.plan.Settings` takes them.

    Raises:
        InvalidInput: a value is malformed, or the folder holds another run; before the search begins.
        Unavailable: the storage does not answer, or workers keep dying.
        StorageLost: the storage went away; what was found since is kept in the folder for the next call.
        NothingFound: no trial has finished, or no family has a candidate.
    """
    if trials is not None and budget is not None:
        raise InvalidInput("trials, budget", expected="one of them", got="both")
    unknown = set(settings) - set(Settings.__annotations__)
    if unknown:
        raise InvalidInput(
            unknown.pop(), expected=f"one of {', '.join(Settings.__annotations__)}", got="another name"
        )
    values: dict[str, Any] = {"groups": (), "tile": "4", "rank": 32, **settings}
    for name in ("groups", "families"):
        if isinstance(values.get(name), str):
            values[name] = (values[name],)
    plan = Settings(**values)
    # Everything that can be wrong is looked at before the search begins.
    pairs = load_pairs(matrices)
    started = Run(
        Path(out) if out else default_folder(plan), plan, tuple(matrices), storage, command_of(plan)
    )
    return search_and_report(started, pairs, trials=trials, budget=budget, jobs=jobs, progress=progress)


def search_and_report(
    started: Run,
    pairs: list[MatrixPair],
    *,
    trials: int | None = None,
    budget: float | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
    patience: float = PATIENCE,
) -> Result:
    """The run of a folder, searched on and reported; raises as `run`.

    A storage may be away for `patience` seconds.
    """
    started = replace(started, trials=trials)
    start_run(started)
    if trials is None and budget is None:
        budget = DEFAULT_BUDGET
    total = trials if trials is not None else round(budget or 0)

    def watch(state: State) -> None:
        if progress:
            done = state.finished if trials is not None else min(round(state.seconds), total)
            best = "-" if state.best is None else f"{state.best:.4g}"
            now = f"; {', '.join(state.running)}" if state.running else ""
            progress(f"searching, {state.finished} trials, best total {best}{now}", done, total)

    interrupted = False
    try:
        study = search(started, trials=trials, budget=budget, jobs=jobs, watch=watch, patience=patience)
    except KeyboardInterrupt:
        interrupted = True
        study = open_study(open_storage(started.storage_url), started.study_name, started.settings)
    content = finish(started, study, pairs, progress)
    if content is None:
        raise NothingFound(
            "no trial has finished yet" if interrupted else "no family has a candidate for these settings"
        )
    return Result(content, interrupted)


def finish(
    run: Run,
    study: Study,
    pairs: list[MatrixPair],
    progress: Progress | None = None,
) -> Content | None:
    """Choose the winners, write their files and the report; None when nothing is finished.

    Of a run that was bounded by trials only those plan entries count, so that it ends the same way whatever
    else is in the storage.
    """
    found = list(finished_algorithms(study, run.limit))
    if not found:
        return None
    winners = choose_winners(found, run.settings.dtype)
    write_winners(run.folder, winners)
    trials_table = trial_table(study, run.limit, run.settings.arms())
    write_trials(run.folder, trials_table)
    content = collect(run, winners, pairs, trials_table, progress)
    write_report(content, run.folder)
    return content


def report_again(
    folder: str | Path, matrices: Sequence[str] = (), progress: Progress | None = None
) -> Content:
    """Write the report of a run folder again: `stl-search report`.

    Where the storage has finished trials that the folder does not know of, because the search is under way or
    workers went on after it, the winners are chosen anew from all of them. Where a published folder came
    without its storage, the table of trials is the one that it keeps.

    Raises:
        InvalidInput: no run there, no winners, damaged files, or unknown matrices.
        Unavailable: the storage does not answer.
    """
    stored = read_run(folder)
    pairs = load_pairs(matrices or stored.matrices)
    table = read_trials(stored.folder)
    if stored.has_storage or table is None:
        study = open_study(open_storage(stored.storage_url), stored.study_name, stored.settings)
        now = trial_table(study, stored.limit, stored.settings.arms())
        content = finish(stored, study, pairs, progress) if now != table else None
        if content is not None:
            return content
        table = now
    content = collect(stored, read_winners(stored.folder), pairs, table, progress)
    write_report(content, stored.folder)
    return content


def load_pairs(specs: Iterable[str]) -> list[MatrixPair]:
    """The pairs of all these `--matrices` values, each value once."""
    return [pair for spec in dict.fromkeys(specs) for pair in load_matrices(spec)]


def default_folder(settings: Settings) -> Path:
    """results/ and the settings in words that every file system takes."""
    groups = (g.replace("/", "_") for g in settings.groups)
    words = [*groups, settings.tile.slug, f"r{settings.rank}", settings.dtype]
    label = "-".join([*words, *([] if settings.profile is None else [f"profile-{settings.profile}"])])
    return Path("results") / "".join(c if c.isalnum() or c in "-_^.,()x" else "_" for c in label)


def command_of(settings: Settings) -> str:
    """The command line that asks for these settings, for provenance."""
    words = ["stl-search", "run"]
    for group in settings.groups:
        words += ["--group", group]
    words += ["--tile", settings.tile.slug, "--rank", str(settings.rank), "--dtype", settings.dtype]
    for name in settings.families:
        words += ["--family", name]
    if settings.profile is not None:
        words += ["--profile", ",".join(map(repr, settings.profile.shares))]
    return shlex.join([*words, "--seed", str(settings.seed)])
