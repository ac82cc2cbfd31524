"""What the documents say of the code is there: the tests that they name, the sections that the code cites."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted((ROOT / "docs").glob("*.md"))
#: A path that is not followed by a test is not meant.
NAMED_TEST = re.compile(r"(tests/[\w./-]+\.py)::(\w+(?:::\w+)*)")
#: A citation may go on in the next line of a comment.
CITATION = re.compile(r"theory(?:\.md|[\s#]+notes),[\s#]+section[\s#]+(\d+)", re.IGNORECASE)


@cache
def names_in(path):
    """Names of the tests in a file, "Class::test" for methods; the file is read and not imported."""
    found = set()

    def collect(body, prefix):
        for node in body:
            if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
                collect(node.body, f"{prefix}{node.name}::")
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test"):
                found.add(prefix + node.name)

    collect(ast.parse(path.read_text(encoding="utf-8")).body, "")
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_that_a_document_names_exists(document):
    named = set(NAMED_TEST.findall(document.read_text(encoding="utf-8")))
    missing = [
        f"{file}::{test}"
        for file, test in sorted(named)
        if not (ROOT / file).is_file() or test not in names_in(ROOT / file)
    ]
    assert not missing


def test_the_theory_names_tests():
    """Were the pattern wrong, the test above would hold for nothing."""
    assert len(NAMED_TEST.findall((ROOT / "docs" / "theory.md").read_text(encoding="utf-8"))) > 50
    assert "test_every_test_that_a_document_names_exists" in names_in(Path(__file__))


def test_every_section_of_the_theory_that_the_code_cites_exists():
    theory = (ROOT / "docs" / "theory.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^## (\d+)\. ", theory, flags=re.MULTILINE))
    # Only folders of the project: a virtual environment beside them may hold anything.
    folders = [path.parent for path in ROOT.glob("*/__init__.py")] + [ROOT / "tests"]
    files = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    cited = {number for path in files for number in CITATION.findall(path.read_text(encoding="utf-8"))}
    assert len(cited) >= 4
    assert cited <= sections
