"""`stl-search watch`: a study as it stands, from any machine, as long as one looks."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Group
from rich.live import Live
from rich.text import Text

from stl_algebra.errors import InvalidInput
from stl_search.cli.common import Duration, echo_json, json_option, out, patience_option, table

if TYPE_CHECKING:
    from stl_search.study.watching import Overview


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--storage", help="Instead of a run folder: URL that the run was given.")
@click.option("--study", "name", help="With --storage: name of the study, which the run's run.json says.")
@click.option("--every", type=Duration(), default="5s", show_default=True, help="How often to look.")
@click.option("--once", is_flag=True, help="Look once. So it is where stdout is no terminal, too.")
@patience_option
@json_option
def watch(
    folder: Path | None,
    storage: str | None,
    name: str | None,
    every: float,
    once: bool,
    patience: float,
    as_json: bool,
) -> None:
    """Show a study as it stands: least totals by rank; trials, cost and gain by arm; who is at work.

    It ends with the study, or with Ctrl-C. The gain of an arm is the share of the least total that the study
    would lose without it; where it is negative, how far the arm is behind. --json prints what is known, once.

    \b
    Example:
      stl-search watch results/mine
      stl-search watch --storage postgresql://me@host/search --study stl-0123456789abcdef
    """
    from stl_search.study.storage import join_study, open_storage
    from stl_search.study.watching import overview

    if folder is not None:
        if storage or name:
            raise InvalidInput("folder", expected="a run folder, or --storage with --study", got="both")
        from stl_search.study.run_folder import read_run

        stored = read_run(folder)
        if not stored.has_storage:
            raise InvalidInput("folder", expected="a run with its storage", got=f"{folder} without one")
        storage, name = stored.storage_url, stored.study_name
    if not (storage and name):
        raise InvalidInput("study", expected="a run folder, or --storage with --study", got="neither")
    study = join_study(open_storage(storage, patience), name)
    now = overview(study)
    if as_json:
        echo_json(now.as_json())
        return
    if once or not out.is_terminal:
        out.print(drawn(now))
        return
    try:
        with Live(drawn(now), console=out, auto_refresh=False) as live:
            while not now.is_done:
                time.sleep(every)
                now = overview(study)
                live.update(drawn(now), refresh=True)
    except KeyboardInterrupt:
        return


def drawn(now: Overview) -> Group:
    """The overview as tables."""
    left = f" of {now.goal.trials}" if now.goal.trials is not None else ""
    time_left = f", {_duration(now.goal.seconds)} left" if now.goal.seconds > 0 else ""
    head = Text(f"{now.study}: {now.finished}{left} trials, {len(now.running)} under way{time_left}")
    ranks = table(
        "", ("rank", f"total {now.dtype}", "found", "by", "name"), ("rank", f"total {now.dtype}", "found")
    )
    for line in now.ranks:
        by = f"{line.family} {line.group}".strip()
        ranks.add_row(
            str(line.rank), f"{line.total:.5g}", f"{_duration(line.ago)} ago", Text(by), Text(line.name)
        )
    numbers = ("trials", "no candidate", "under way", "cost", "best", "gain")
    arms = table("", ("arm", *numbers, "least at ranks"), numbers)
    for arm in now.arms:
        arms.add_row(
            Text(f"{arm.family} {arm.group}".strip()), str(arm.finished), str(arm.without_candidate or ""),
            str(arm.running or ""), _duration(arm.seconds), "" if arm.best is None else f"{arm.best:.5g}",
            _signed(arm.gain), _spans(arm.leads),
        )  # fmt: skip
    busy = table("", ("under way", "stage", "for", "on"), ("for",))
    for trial in now.running:
        what = Text(f"{trial.family} {trial.group}".strip())
        busy.add_row(what, Text(trial.stage), _duration(trial.seconds), Text(trial.machine))
    return Group(head, *([ranks] if now.ranks else []), arms, *([busy] if now.running else []))


def _signed(gain: float | None) -> str:
    shown = "" if gain is None else f"{gain:+.2%}"
    return "" if shown in ("+0.00%", "-0.00%") else shown


def _duration(seconds: float) -> str:
    """Two units at most: 45 s, 3 min, 5 h 10 min, 2 d 4 h."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, days = minutes // 60, minutes // 1440
    return f"{hours} h {minutes % 60} min" if hours < 24 else f"{days} d {hours % 24} h"


def _spans(numbers: tuple[int, ...]) -> str:
    """Numbers that follow each other as spans: 16-31, 40."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)
