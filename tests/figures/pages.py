"""README and the pages of the site as they are written, and what in them looks like a measured figure."""

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))

#: Not prose: front matter, cells and other blocks of code (their output is made when the page is built),
#: indented blocks (commands, formulas), code in a line, targets of links, numbers of arXiv.
NOT_PROSE = re.compile(
    r"\A---\n.*?\n---\n|^```.*?^```|^ {4,}\S[^\n]*$|`[^`]*`|\]\([^)]*\)|arXiv\s+\d{4}\.\d{4,5}",
    flags=re.DOTALL | re.MULTILINE,
)

#: A decimal, a power of ten, or a whole number before a unit. It does not see whole numbers without a unit
#: ("40 seeds"), figures in words ("a minute") and what is said without figures ("slower").
LOOKS_MEASURED = re.compile(
    r"""(?<![\w.]) (?<![A-Za-z]-) (?:
        \d* \. \d+ (?:e-?\d+)?  |  \d+ (?:\.\d+)? e-?\d+  |
        (?<![\^-]) \d+ (?:,\d{3})* (?= \s? (?:%|x\b(?!\s\d)) | \s (?:
            times | per\s cent | points | thousand | million | [KMGT]i?B | [mµn]?s
            | (?:milli|micro)?seconds? | minutes? | hours? | days?
        )\b )
    )""",
    flags=re.VERBOSE,
)


@cache
def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def looks_measured(text):
    """Spans of what looks like a measured figure in the prose of a page."""
    prose = NOT_PROSE.sub(lambda found: " " * len(found[0]), text)
    return [found.span() for found in LOOKS_MEASURED.finditer(prose)]


def places(page, words):
    """Where the words are on a page; a space in them is any white space."""
    return list(re.finditer(words.replace(" ", r"\s+"), text_of(page)))
