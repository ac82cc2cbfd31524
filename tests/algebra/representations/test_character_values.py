"""Exact spellings of character values: each, evaluated, is the value; known tables."""

import re

import numpy as np
import pytest
from hypothesis import given, settings

from stl_algebra.groups import NAME_TABLE, parse_group
from stl_algebra.representations import character_table, complex_irreps
from stl_algebra.representations.character_values import exact_character_table, root_multiplicities
from tests.algebra.groups.group_strategies import spellings, write_tables


def evaluated(text):
    """The number that a spelling stands for, by Python's own arithmetic."""
    python, after_factor = "", False
    for token in re.finditer(r"ζ(\d+)(?:\^(\d+))?|√(\d+)|(i)|(\d+)|([-+()/])|(.)", text):
        order, power, inside, unit, number, sign, unknown = token.groups()
        assert not unknown, text
        factor = f"root({order},{power or 1})" if order else f"sqrt({inside})" if inside else number
        python += sign or ("*" if after_factor else "") + ("1j" if unit else str(factor))
        after_factor = not sign
    names = {"root": lambda n, k: np.exp(2j * np.pi * k / n), "sqrt": np.sqrt}
    return complex(eval(python, {"__builtins__": {}}, names))


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    write_tables(folder)
    return folder


def check(group):
    exact = exact_character_table(group)
    values = np.array([[evaluated(text) for text in row] for row in exact])
    assert np.abs(values - character_table(group)).max() < 1e-9
    characters = np.array([i.character for i in complex_irreps(group)])
    degrees = [i.degree for i in complex_irreps(group)]
    for c in group.classes:
        multiplicities = root_multiplicities(group, characters, c[0])
        assert multiplicities.min() >= 0
        assert np.array_equal(multiplicities.sum(axis=1), degrees)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(spelled=spellings(80))
def test_spellings_of_random_groups_evaluate_to_the_values(tables, spelled):
    check(parse_group(spelled[0].replace("{d}", str(tables))))


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in NAME_TABLE if parse_group(n).order < 33])
def test_spellings_evaluate_to_the_values(name):
    check(parse_group(name))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("S4", {"0", "1", "-1", "2", "3"}),
        ("C4", {"1", "-1", "i", "-i"}),
        ("C6", {"1", "-1", "ζ3", "ζ3^2", "-ζ3", "-ζ3^2"}),
        ("A5", {"0", "1", "-1", "3", "4", "5", "(1+√5)/2", "(1-√5)/2"}),
        ("D8", {"0", "1", "-1", "2", "-2", "√2", "-√2"}),
        ("C8:C2(3)", {"0", "1", "-1", "2", "-2", "i√2", "-i√2"}),
        ("C7:C3", {"0", "1", "3", "ζ3", "ζ3^2", "(-1+i√7)/2", "(-1-i√7)/2"}),
        ("D7", {"0", "1", "-1", "2", "ζ7+ζ7^6", "ζ7^2+ζ7^5", "ζ7^3+ζ7^4"}),
    ],
)
def test_values_of_known_tables(name, values):
    assert {v for row in exact_character_table(parse_group(name)) for v in row} == values
