"""What every test gets: a cache folder of its own, so that nobody's real one is read or written."""

import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    before = os.environ.get("STL_ALGEBRA_CACHE")
    os.environ["STL_ALGEBRA_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["STL_ALGEBRA_CACHE"]
    else:
        os.environ["STL_ALGEBRA_CACHE"] = before
