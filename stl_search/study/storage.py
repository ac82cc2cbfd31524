"""Opening a study: its database, its tables, and the Optuna study that other tools see."""

from __future__ import annotations

import time
from typing import Any

import optuna
from optuna.storages import RDBStorage
from sqlalchemy.exc import SQLAlchemyError

from stl_algebra.errors import InvalidInput, StlError, Unavailable
from stl_search.study.database import PATIENCE, Database, first_line, options_of
from stl_search.study.older import bring_over
from stl_search.study.opened import Storage, Study
from stl_search.study.plan import Settings
from stl_search.study.tables import ARMS, STUDIES
from stl_search.study.urls import without_password

#: Version of what the storage holds; a newer one is refused, an older one brought up by `older`.
STUDY_VERSION = 2
#: How often making the tables is tried where another process makes them at the same moment.
_ATTEMPTS = 6


def open_storage(url: str, patience: float = PATIENCE) -> Storage:
    """The storage of a URL, tried at once; its tables are made where they are missing.

    Args:
        url: of SQLite or PostgreSQL.
        patience: seconds that it may be away later on.

    Raises:
        InvalidInput: not such a URL.
        Unavailable: it does not answer, or its driver is not installed.
    """
    address, options = options_of(url)
    try:
        database = Database(url, patience)
        return _opened(database, address, options)
    except ImportError as error:
        driver = error.name or str(error)
        raise Unavailable(
            without_password(
                f"storage {url} needs the package {driver}: pip install 'stl-algebra[postgres]'"
                if url.startswith("postgres")
                else f"storage {url} needs the package {driver}"
            )
        ) from error
    except StlError:
        raise
    except Exception as error:  # every driver has its own exceptions
        raise Unavailable(without_password(f"storage {url} does not answer: {first_line(error)}")) from error


def _opened(database: Database, address: str, options: dict[str, Any]) -> Storage:
    for attempt in range(_ATTEMPTS):
        try:
            with database.alone():
                storage = RDBStorage(address, engine_kwargs=options)
                database.make_tables()
            return Storage(database, storage)
        except SQLAlchemyError as error:
            words = str(error).lower()
            if attempt == _ATTEMPTS - 1 or not any(
                w in words for w in ("already exists", "unique", "locked")
            ):
                raise
            time.sleep(0.2 * (attempt + 1))
    raise AssertionError("the last attempt returns or raises")


def open_study(storage: Storage, name: str, settings: Settings) -> Study:
    """Create the study or continue the one of that name.

    Raises:
        InvalidInput: it exists with other settings or was made by a newer version.
        Unavailable: the storage does not answer.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with storage.database.alone():
            study = optuna.create_study(
                storage=storage.optuna,
                study_name=name,
                sampler=optuna.samplers.RandomSampler(seed=settings.seed),
                load_if_exists=True,
            )
            opened = Study(name, settings, storage.database, study)
            _check(study, name, settings)
            _prepare(opened)
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        words = f"storage {storage.database.url} does not answer: {first_line(error)}"
        raise Unavailable(without_password(words)) from error
    return opened


def join_study(storage: Storage, name: str) -> Study:
    """The study of that name, with the settings that it was started with.

    Raises:
        InvalidInput: there is none; lists those that are there. Or it was made by a newer version.
        Unavailable: the storage does not answer.
    """
    try:
        there = {s.study_name: s.user_attrs for s in optuna.get_all_study_summaries(storage.optuna)}
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        words = f"storage {storage.database.url} does not answer: {first_line(error)}"
        raise Unavailable(without_password(words)) from error
    ours = sorted(name for name, attributes in there.items() if "settings" in attributes)
    if name not in ours:
        raise InvalidInput(
            "study", expected=f"a study of the storage ({', '.join(ours) or 'it has none'})", got=repr(name),
            hint="`stl-search run --storage URL` starts one and its run.json names it",
        )  # fmt: skip
    return open_study(storage, name, _settings(there[name], name))


def _settings(attributes: dict[str, Any], name: str) -> Settings:
    version = int(attributes.get("stl_study_version", 0))
    if version > STUDY_VERSION:
        raise InvalidInput(
            f"study {name}",
            expected=f"study version {STUDY_VERSION} or older",
            got=f"version {version}",
            hint="upgrade stl-algebra to continue it",
        )
    return Settings.from_json(attributes["settings"])


def _check(study: optuna.Study, name: str, settings: Settings) -> None:
    stored = study.user_attrs
    if "settings" not in stored:
        study.set_user_attr("stl_study_version", STUDY_VERSION)
        study.set_user_attr("settings", settings.as_json())
        return
    there = _settings(stored, name)
    if there != settings:
        raise InvalidInput(
            f"study {name}", expected=f"the settings it was started with ({there.changed(settings)})",
            got="other settings", hint="give the same settings to continue it, or another --out",
        )  # fmt: skip


def _prepare(study: Study) -> None:
    """Its lines in our tables; what an older version kept in Optuna's trials comes over."""
    arms = [
        {
            "study": study.name, "arm": arm, "complete": 0, "without_candidate": 0, "seconds": 0.0,
            "next_entry": arm,
        }
        for arm in range(len(study.settings.arms()))
    ]  # fmt: skip
    line = {"study": study.name, "trials": -1, "deadline": 0.0, "strategy": "stride"}

    def prepare(connection: Any) -> None:
        connection.execute(study.database.insert_new(STUDIES), [line])
        connection.execute(study.database.insert_new(ARMS), arms)

    study.database.transaction(prepare)
    if int(study.optuna.user_attrs.get("stl_study_version", 0)) < STUDY_VERSION:
        bring_over(study)
        study.optuna.set_user_attr("stl_study_version", STUDY_VERSION)
