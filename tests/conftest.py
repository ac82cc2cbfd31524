"""What every test gets: a cache folder of its own, and Triton's interpreter where there is no GPU."""

import importlib.util
import os

import pytest
import torch

# Chosen before anything imports triton, which reads the setting then.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
    if importlib.util.find_spec("triton") is not None:
        import triton  # noqa: F401


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    """So that nobody's real cache is read or written."""
    before = os.environ.get("STL_ALGEBRA_CACHE")
    os.environ["STL_ALGEBRA_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["STL_ALGEBRA_CACHE"]
    else:
        os.environ["STL_ALGEBRA_CACHE"] = before
