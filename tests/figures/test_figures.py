"""Figures in README and on the site are those of the results, or of the code, that they come from.

`of_*.py` have the words with their figures in groups, and what makes the figures; `allowed.py` what looks
like a measured figure and is none.
"""

from decimal import Decimal

import pytest

from tests.figures import of_machines, of_mathematics, of_numerics, of_readme, of_training
from tests.figures.allowed import ALLOWED
from tests.figures.pages import PAGES, looks_measured, places, text_of

MODULES = (of_readme, of_training, of_numerics, of_machines, of_mathematics)
FIGURES = [figure for module in MODULES for figure in module.FIGURES]


def is_shown_as(value, shown):
    """Whether a value rounds to what is shown, at its last digit: ".20" to hundredths, "6e-6" to 1e-6."""
    wanted = Decimal(shown.replace(",", ""))
    exponent = wanted.as_tuple().exponent
    assert isinstance(exponent, int)
    return Decimal(float(value)).quantize(Decimal(1).scaleb(exponent)) == wanted


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "words", "source"), FIGURES, ids=[f"{page}: {words[:30]}" for page, words, _ in FIGURES]
)
def test_a_figure_is_that_of_its_source(page, words, source):
    found = places(page, words)
    assert len(found) == 1, f"{words}: {len(found)} times on {page}"
    for shown, value in zip(found[0].groups(), source(), strict=True):
        assert is_shown_as(value, shown), (shown, value)


def test_values_are_compared_at_the_digits_shown():
    assert is_shown_as(0.0755093, ".076")
    assert is_shown_as(6.2e-6, "6e-6")
    assert is_shown_as(2560, "2,560")
    assert not is_shown_as(0.196, "0.2000")
    assert not is_shown_as(0.51896, ".53")


def covered(page):
    """Spans of a page's figures that are compared, and of all that is allowed."""
    spans = []
    for where, words, _ in FIGURES:
        for found in places(where, words) if where == page else ():
            spans += [found.span(group) for group in range(1, len(found.groups()) + 1)]
    for where, words, _ in ALLOWED:
        spans += [found.span() for found in places(where, words)] if where == page else []
    return spans


@pytest.mark.parametrize("page", PAGES)
def test_no_figure_is_without_a_source(page):
    spans = covered(page)
    text = text_of(page)
    bare = [
        " ".join(text[max(0, start - 60) : stop + 40].split())
        for start, stop in looks_measured(text)
        if not any(first <= start and stop <= last for first, last in spans)
    ]
    assert not bare, "write in tests/figures where these come from, or why they are not measured"


@pytest.mark.parametrize(("page", "words", "reason"), ALLOWED, ids=[words[:30] for _, words, _ in ALLOWED])
def test_what_is_allowed_is_there_and_looks_measured(page, words, reason):
    assert reason
    seen = looks_measured(text_of(page))
    for found in places(page, words) or pytest.fail(f"not on {page}: {words}"):
        first, last = found.span()
        assert any(first <= start and stop <= last for start, stop in seen), found[0]


@pytest.mark.parametrize(
    "figure", ["3.2x", "12%", "12 %", "1.5 s", "81.0", "1.2 times", ".031", "6e-6", "40 minutes", "3 GiB"]
)
def test_what_looks_measured_is_seen(figure):
    first = len("It takes ")
    (span,) = looks_measured(f"It takes {figure}, and more.")
    assert span[0] == first


@pytest.mark.parametrize(
    "text",
    ["a tile of 4 x 4", "```\n3.2x\n```", "see `1.5 s`", "arXiv 2503.12211", "at rank 48", "    x 1.5"],
)
def test_code_sizes_and_sources_are_no_figures(text):
    assert not looks_measured(text)
