"""An open storage and an open study, as everything here is given them."""

from __future__ import annotations

from dataclasses import dataclass

import optuna
from optuna.storages import RDBStorage

from stl_search.study.database import Database
from stl_search.study.plan import Settings


@dataclass(frozen=True)
class Storage:
    """A database that holds studies.

    Attributes:
        database: for our own tables.
        optuna: the same database as Optuna sees it.
    """

    database: Database
    optuna: RDBStorage


@dataclass(frozen=True)
class Study:
    """An open study.

    Attributes:
        name: in its storage.
        settings: of the plan.
        database: where its queue and what it found are.
        optuna: the study for Optuna's tools: settings, and a trial for every finished entry.
    """

    name: str
    settings: Settings
    database: Database
    optuna: optuna.Study
