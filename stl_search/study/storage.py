"""Opening a study: the Optuna storage of a URL, and the study with its settings in it."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.storages import BaseStorage, RDBStorage

from stl_algebra.errors import InvalidInput, Unavailable
from stl_search.study.plan import Settings
from stl_search.study.urls import without_password

#: Version of what the storage holds; a newer one is refused.
STUDY_VERSION = 1


def open_storage(url: str) -> BaseStorage:
    """The Optuna storage of a URL, tried at once.

    Raises:
        InvalidInput: not a URL.
        Unavailable: it does not answer, or its driver is not installed.
    """
    if "://" not in url:
        raise InvalidInput(
            "storage",
            expected="a URL such as sqlite:///study.db or postgresql://user@host/name",
            got=repr(url),
            hint=f"for a file: sqlite:///{url}",
        )
    options: dict[str, Any] = {}
    if url.startswith("sqlite:"):
        options = {"connect_args": {"timeout": 60}}
    elif url.startswith("postgresql:"):
        # psycopg 3, and no hanging on a server that is not there.
        url = url.replace("postgresql:", "postgresql+psycopg:", 1)
        options = {"connect_args": {"connect_timeout": 10}, "pool_pre_ping": True}
    try:
        return RDBStorage(url, engine_kwargs=options)
    except ImportError as error:
        driver = error.name or str(error)
        raise Unavailable(
            without_password(
                f"storage {url} needs the package {driver}: pip install 'stl-algebra[postgres]'"
                if url.startswith("postgresql")
                else f"storage {url} needs the package {driver}"
            )
        ) from error
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
        study.set_user_attr("settings", settings.as_json())
    elif int(stored.get("stl_study_version", 0)) > STUDY_VERSION:
        raise InvalidInput(
            f"study {name}",
            expected=f"study version {STUDY_VERSION} or older",
            got=f"version {stored['stl_study_version']}",
            hint="upgrade stl-algebra to continue it",
        )
    elif settings_of(study) != settings:
        changed = settings_of(study).changed(settings)
        raise InvalidInput(
            f"study {name}", expected=f"the settings it was started with ({changed})", got="other settings",
            hint="give the same settings to continue it, or another --out",
        )  # fmt: skip
    return study


def settings_of(study: optuna.Study) -> Settings:
    """The settings stored with a study."""
    data: dict[str, Any] = study.user_attrs["settings"]
    return Settings.from_json(data)
