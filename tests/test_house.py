"""Rules of the house that no linter knows: files that do one thing, signatures that fit a head."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("stl_algebra", "stl_kernels", "stl_models", "stl_search", "benchmarks")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_do_one_thing_and_say_which(path):
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) < 330
    tree = ast.parse(source)
    assert ast.get_docstring(tree), "its first lines say what belongs in it"
    wide = {n.name: width(n) for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and is_public(n)}
    assert not {name: count for name, count in wide.items() if count > 8}


def is_public(function):
    """Commands have options for parameters, Triton's kernels take numbers only."""
    decorators = [ast.unparse(d) for d in function.decorator_list]
    if any("command(" in d or d == "triton.jit" for d in decorators):
        return False
    return not function.name.startswith("_") or function.name == "__init__"


def width(function):
    """Parameters; an options value and its fields by keyword are one."""
    given = function.args
    names = [
        a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs) if a.arg not in ("self", "cls")
    ]
    names += [a.arg for a in (given.vararg, given.kwarg) if a is not None]
    return len(set(names) - ({"changes"} if "options" in names else set()))
