"""A run folder: what a run was asked for, its storage, its winners as encoders files.

run.json            study, settings, matrices, storage (without a password), version, command
study.db            the storage, unless --storage names another
trials.json         counts and best totals by family and group, for folders that are passed on without storage
encoders/*.safetensors   one file per rank of the frontier
report.html, report.md, scores.csv, figures/    written by `report`
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stl_algebra.errors import InvalidInput, StlError, Unavailable
from stl_algebra.files import write_atomically
from stl_algebra.version import __version__
from stl_search.study.plan import Settings
from stl_search.study.urls import without_password

FOLDER_VERSION = 1


@dataclass(frozen=True)
class Run:
    """What `run.json` holds.

    Attributes:
        folder: the run folder.
        settings: of the study.
        matrices: the `--matrices` values.
        storage: URL, "" for the study.db in the folder.
        command: the command line that started it.
        strategy: how a run bounded by time chooses what comes next; no part of the settings.
        trials: plan entries from this number on do not count; None where all that is finished counts.
    """

    folder: Path
    settings: Settings
    matrices: tuple[str, ...]
    storage: str
    command: str
    strategy: str = "stride"
    trials: int | None = None

    @property
    def limit(self) -> float:
        """Plan entries from this number on do not count."""
        return float("inf") if self.trials is None else self.trials

    @property
    def storage_url(self) -> str:
        """The URL to open."""
        return self.storage or f"sqlite:///{(self.folder / 'study.db').absolute()}"

    @property
    def has_storage(self) -> bool:
        """Whether there can be trials in the storage: one is named, or the folder has its own."""
        return bool(self.storage) or (self.folder / "study.db").is_file()

    @property
    def study_name(self) -> str:
        """Name of the study in its storage: shared by every worker with the same settings."""
        return f"stl-{self.settings.digest()}"

    def as_json(self) -> dict[str, Any]:
        """The document; a password in the storage URL is left out."""
        return {
            "stl_folder_version": FOLDER_VERSION,
            "version": __version__,
            "study": self.study_name,
            "settings": self.settings.as_json(),
            "matrices": list(self.matrices),
            "storage": without_password(self.storage),
            "command": self.command,
            "strategy": self.strategy,
            "trials": self.trials,
        }


def start_run(run: Run) -> None:
    """Write `run.json`, or check that the folder's run is the same one.

    Raises:
        InvalidInput: the folder cannot be written, holds a run with other settings or of a newer version.
    """
    if run.folder.exists() and not run.folder.is_dir():
        raise InvalidInput("out", expected="a folder that can be written", got=f"the file {run.folder}")
    if (run.folder / "run.json").is_file():
        existing = read_run(run.folder)
        if existing.settings != run.settings:
            changed = existing.settings.changed(run.settings)
            raise InvalidInput(
                "out", expected=f"settings of the run in {run.folder} ({changed})", got="other settings",
                hint="repeat them to continue it, or give another --out",
            )  # fmt: skip
    try:
        write_atomically(run.folder / "run.json", json.dumps(run.as_json(), indent=2, sort_keys=True) + "\n")
    except Unavailable as error:
        raise InvalidInput("out", expected="a folder that can be written", got=str(error)) from error


def read_run(folder: str | Path) -> Run:
    """The run of a folder.

    Raises:
        InvalidInput: no run there, a damaged run.json, or one of a newer version.
    """
    path = Path(folder) / "run.json"
    if not path.is_file():
        raise InvalidInput("run folder", expected="a folder with run.json", got=str(folder))
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        version = int(data["stl_folder_version"])
        if version > FOLDER_VERSION:
            raise InvalidInput(
                f"run folder {folder}",
                expected=f"folder version {FOLDER_VERSION} or older",
                got=f"version {version}",
                hint="upgrade stl-algebra to read it",
            )
        return Run(
            Path(folder),
            Settings.from_json(data["settings"]),
            tuple(data["matrices"]),
            data["storage"],
            data["command"],
            data.get("strategy", "stride"),
            None if data.get("trials") is None else int(data["trials"]),
        )
    except StlError:
        raise
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InvalidInput(f"run folder {folder}", expected="a readable run.json", got=str(error)) from error


def write_trials(folder: Path, table: dict[str, Any]) -> None:
    """Write the table of trials, as `study.queue.trial_table` gives it.

    Raises:
        Unavailable: the folder cannot be written.
    """
    write_atomically(folder / "trials.json", json.dumps(table, indent=2) + "\n")


def read_trials(folder: Path) -> dict[str, Any] | None:
    """The table of trials that a folder keeps; None when it has none.

    Raises:
        InvalidInput: it is damaged.
    """
    path = folder / "trials.json"
    if not path.is_file():
        return None
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return {
            "finished": int(table["finished"]),
            "without_candidate": int(table["without_candidate"]),
            "arms": [{"count": 0, "best": None, **dict(arm)} for arm in table["arms"]],
        }
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InvalidInput(
            f"run folder {folder}", expected="a readable trials.json", got=str(error)
        ) from error
