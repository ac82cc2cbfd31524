"""Studies on every kind of storage."""

import itertools

import pytest

from benchmarks.postgres import Server
from stl_algebra.errors import Unavailable
from stl_search.study.plan import Settings
from stl_search.study.storage import open_storage, open_study


@pytest.fixture(scope="session")
def server():
    """One PostgreSQL server for all tests of a process."""
    try:
        made = Server()
    except Unavailable as error:
        pytest.skip(str(error))
    yield made
    made.close()


_NUMBERS = itertools.count()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request, tmp_path):
    """Of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'study.db'}"
    return request.getfixturevalue("server").url(f"empty{next(_NUMBERS)}")


@pytest.fixture
def fresh(url):
    """A study without a trial on each kind of storage."""
    plan = Settings(("S3",), "2", 6, families=("known", "random", "orbits"))
    return open_study(open_storage(url), "stl-fresh", plan)
