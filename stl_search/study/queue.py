"""The study: a plan of trials in an Optuna storage, worked off by any number of processes and machines.

Entry i of the plan is a function of the run's settings and i alone. Each waits in the storage until a
worker claims it (Optuna's `ask` is atomic), and is finished when the storage says COMPLETE; the
algorithms are kept in the trial's attributes. A trial whose worker died is marked failed on the next
start and its entry is queued again, so nothing finished is lost or repeated. A run bounded by trials works
off a prefix of the plan and ends with the same trials however often it was stopped; one bounded by time
takes the entries in the order that `allocation` finds worthwhile.

What does not belong here: what a trial does (`trial`), choosing winners and writing files
(`run_folder`).
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any

import numpy as np
import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState
from safetensors.numpy import load, save

from stl_algebra.algorithms.bilinear import BilinearAlgorithm, Provenance, TileFormat, check_rank
from stl_algebra.algorithms.fit import rounding_constant
from stl_algebra.errors import InvalidInput, StlError, Unavailable
from stl_algebra.families import FAMILIES, family
from stl_algebra.families.registry import NoCandidate
from stl_algebra.groups.isomorphism import one_of_each_type
from stl_search.study.strategies.stride import Record, next_arm
from stl_search.trials.trial import Entry, run_trial

#: Version of what the storage holds; a newer one is refused.
STUDY_VERSION = 1


@dataclass(frozen=True)
class Settings:
    """What a run is about; stored with the study, and the same when it is continued.

    Attributes:
        groups: names; families that use a group get each of them.
        tile: format. rank: products. dtype: of the total. seed: of the plan.
        families: registered names.
    """

    groups: tuple[str, ...]
    tile: str
    rank: int
    dtype: str
    seed: int
    families: tuple[str, ...]

    def checked(self) -> Settings:
        """The settings with canonical spellings, and of isomorphic groups the first one only.

        Raises:
            InvalidInput: any of them is malformed, or no family can run on them.
        """
        tile = TileFormat.parse(self.tile)
        check_rank(self.rank, tile)
        rounding_constant(self.dtype)
        for name in self.families:
            family(name)
        names, _ = one_of_each_type(self.groups)
        settings = replace(self, tile=tile.slug, groups=tuple(names))
        if not settings.arms():
            raise InvalidInput("group", expected="at least one group for the families chosen", got="none")
        return settings

    def arms(self) -> list[tuple[str, str]]:
        """(family, group) pairs that the plan goes round, structured ones first."""
        arms = [(f, g) for f in self.families if FAMILIES[f].uses_group for g in self.groups]
        arms += [(f, "") for f in self.families if not FAMILIES[f].uses_group]
        return arms

    def entry(self, index: int) -> Entry:
        """Entry `index` of the plan: arms in turn, a new seed each."""
        arms = self.arms()
        name, group = arms[index % len(arms)]
        seed = int(np.random.SeedSequence([self.seed, index]).generate_state(1)[0])
        return Entry(self.tile, self.rank, self.dtype, name, group, seed)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Settings:
        """Inverse of `dataclasses.asdict` after a trip through JSON, which turns tuples to lists."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**fields)

    def digest(self) -> str:
        """Identity of the settings."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def without_password(text: str) -> str:
    """The text with every password in a URL left out."""
    return re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1@", text)


def open_storage(url: str) -> BaseStorage:
    """The Optuna storage of a URL, tried at once.

    Raises:
        Unavailable: it does not answer, or its driver is not installed.
    """
    options: dict[str, Any] = {}
    if url.startswith("sqlite:"):
        options = {"connect_args": {"timeout": 60}}
    elif url.startswith("postgresql:"):
        # psycopg 3, and no hanging on a server that is not there.
        url = url.replace("postgresql:", "postgresql+psycopg:", 1)
        options = {"connect_args": {"connect_timeout": 10}, "pool_pre_ping": True}
    try:
        return RDBStorage(url, engine_kwargs=options)
    except Exception as error:  # every driver has its own exceptions
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise Unavailable(without_password(f"storage {url} does not answer: {first}")) from error


def open_study(storage: BaseStorage, name: str, settings: Settings) -> optuna.Study:
    """Create the study or continue the one of that name.

    Raises:
        InvalidInput: it exists with other settings or was made by a newer version.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        sampler=optuna.samplers.RandomSampler(seed=settings.seed),
        load_if_exists=True,
    )
    stored = study.user_attrs
    if "settings" not in stored:
        study.set_user_attr("stl_study_version", STUDY_VERSION)
        study.set_user_attr("settings", asdict(settings))
    elif int(stored.get("stl_study_version", 0)) > STUDY_VERSION:
        raise InvalidInput(
            f"study {name}",
            expected=f"study version {STUDY_VERSION} or older",
            got=f"version {stored['stl_study_version']}",
            hint="upgrade stl-algebra to continue it",
        )
    elif settings_of(study) != settings:
        old, new = asdict(settings_of(study)), asdict(settings)
        changed = ", ".join(f"{k}={old[k]!r}" for k in old if old[k] != new[k])
        raise InvalidInput(
            f"study {name}", expected=f"the settings it was started with ({changed})", got="other settings",
            hint="give the same settings to continue it, or another --out",
        )  # fmt: skip
    return study


def settings_of(study: optuna.Study) -> Settings:
    """The settings stored with a study."""
    data: dict[str, Any] = study.user_attrs["settings"]
    return Settings.from_json(data)


def _index(trial: FrozenTrial) -> int:
    return int(trial.user_attrs.get("index", -1))


def release_abandoned(study: optuna.Study) -> int:
    """Mark running trials of dead processes of this machine as failed; their entries are queued again."""
    released = 0
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        host, _, pid = str(trial.user_attrs.get("worker", "")).partition(":")
        if host == socket.gethostname() and pid.isdigit() and _alive(int(pid)):
            continue
        age = (datetime.now() - (trial.datetime_start or datetime.now())).total_seconds()
        # A worker signs within moments of claiming; other machines get an hour for a trial.
        if age < (3600 if host and host != socket.gethostname() else 5 if not host else 0):
            continue
        study.tell(trial.number, state=TrialState.FAIL)
        released += 1
    return released


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def queue_up_to(study: optuna.Study, settings: Settings, count: int) -> None:
    """See that entries 0 .. count-1 are waiting, running or finished."""
    present = {
        _index(t)
        for t in study.get_trials(deepcopy=False)
        if t.state in (TrialState.WAITING, TrialState.RUNNING)
    } | finished_indices(study)
    for index in range(count):
        if index not in present:
            _queue(study, settings, index)


def _queue(study: optuna.Study, settings: Settings, index: int) -> None:
    entry = settings.entry(index)
    parameters = {"family": entry.family, "group": entry.group, "seed": entry.seed}
    study.enqueue_trial(parameters, user_attrs={"index": index})


def next_index(study: optuna.Study, settings: Settings) -> int:
    """The plan entry that a run bounded by time takes next: the first one free of the arm to be tried.

    Families without groups are tried first: the exact algorithms among them are the bar for the others and
    cheap.
    """
    arms = settings.arms()
    taken: set[int] = set()
    records = [Record() for _ in arms]
    now = datetime.now()
    for trial in study.get_trials(deepcopy=False):
        index = _index(trial)
        if trial.state is TrialState.FAIL or index < 0:
            continue
        taken.add(index)
        record = records[index % len(arms)]
        seconds = 0.0
        if trial.datetime_start:
            seconds = ((trial.datetime_complete or now) - trial.datetime_start).total_seconds()
        values = [v for v in (record.best, trial.value) if v is not None]
        records[index % len(arms)] = Record(
            record.trials + 1,
            record.seconds + seconds,
            min(values, default=None),
            record.in_flight + (not trial.state.is_finished()),
        )
    order = sorted(range(len(arms)), key=lambda i: (FAMILIES[arms[i][0]].uses_group, i))
    arm = order[next_arm([records[i] for i in order])]
    return next(i for i in itertools.count(arm, len(arms)) if i not in taken)


def finished_indices(study: optuna.Study) -> set[int]:
    """Plan entries that have a result: COMPLETE, or PRUNED because the family has no candidate there."""
    done = (TrialState.COMPLETE, TrialState.PRUNED)
    return {_index(t) for t in study.get_trials(deepcopy=False, states=done)}


def work(
    study: optuna.Study,
    settings: Settings,
    *,
    trials: int | None = None,
    deadline: float | None = None,
    command: str = "",
    stop: threading.Event | None = None,
) -> None:
    """Claim and run entries until `trials` entries are finished, the deadline passes or `stop` is set.

    Args:
        study: shared by all workers.
        settings: of the plan.
        trials: plan entries 0 .. trials-1; None for as many as time allows, in the order of `next_index`.
        deadline: value of `time.monotonic` after which nothing new is begun.
        command: stored in provenance.
        stop: checked between trials.
    """
    limit = 1_000_000_000 if trials is None else trials
    while not (stop and stop.is_set()) and (deadline is None or time.monotonic() < deadline):
        if not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            if trials is not None:
                return
            _queue(study, settings, next_index(study, settings))
        trial = study.ask()
        trial.set_user_attr("worker", f"{socket.gethostname()}:{os.getpid()}")
        index = int(trial.user_attrs.get("index", -1))
        if index < 0 or index >= limit or _is_taken(study, index, trial.number):
            # The queue was empty, another worker had queued the same entry, or the plan is shorter now.
            study.tell(trial, state=TrialState.FAIL)
            continue
        entry = settings.entry(index)
        trial.suggest_categorical("family", list(settings.families))
        trial.suggest_categorical("group", [*settings.groups, ""])
        trial.suggest_int("seed", 0, 2**32 - 1)
        _run_and_tell(study, trial, entry, command)


def _is_taken(study: optuna.Study, index: int, number: int) -> bool:
    """Another trial has a result for the plan entry, or was claimed for it and has a lower number."""
    return any(
        _index(t) == index and t.number != number and (t.state is not TrialState.RUNNING or t.number < number)
        for t in study.get_trials(
            deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
        )
    )


def _run_and_tell(study: optuna.Study, trial: optuna.Trial, entry: Entry, command: str) -> None:
    try:
        outcome = run_trial(entry, command)
    except NoCandidate as error:
        trial.set_user_attr("reason", str(error))
        study.tell(trial, state=TrialState.PRUNED)
        return
    except StlError as error:
        trial.set_user_attr("reason", str(error))
        study.tell(trial, state=TrialState.PRUNED)
        return
    trial.set_user_attr("algorithms", [encode_algorithm(a) for a in outcome.algorithms])
    trial.set_user_attr("totals", list(outcome.totals))
    study.tell(trial, outcome.totals[0])


def encode_algorithm(algorithm: BilinearAlgorithm) -> dict[str, Any]:
    """An algorithm as JSON: factors as base64 of safetensors, so that any storage keeps it bit for bit."""
    tensors = {k: np.ascontiguousarray(getattr(algorithm, k)) for k in ("encode_x", "encode_w", "decode")}
    return {
        "tile": algorithm.tile.slug,
        "name": algorithm.name,
        "provenance": algorithm.provenance.as_json(),
        "factors": base64.b64encode(save(tensors)).decode("ascii"),
    }


def decode_algorithm(data: dict[str, Any]) -> BilinearAlgorithm:
    """Inverse of `encode_algorithm`."""
    tensors = load(base64.b64decode(data["factors"]))
    return BilinearAlgorithm(
        data["tile"], **tensors, name=data["name"], provenance=Provenance.from_json(data["provenance"])
    )


def finished_algorithms(study: optuna.Study) -> Iterator[tuple[int, float, BilinearAlgorithm]]:
    """(plan index, total, algorithm) of everything that finished trials found, in plan order."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    for trial in sorted(done, key=_index):
        for value, data in zip(trial.user_attrs["totals"], trial.user_attrs["algorithms"], strict=True):
            yield _index(trial), float(value), decode_algorithm(data)
