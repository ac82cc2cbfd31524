"""What someone who typed a name outside of the grammar may have meant: other spellings, and the nearest line.

A respelling only changes letters, signs and parentheses, never what is named.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterator

from stl_algebra.groups.families import FAMILIES
from stl_algebra.groups.grammar import OPERATORS

#: Symbols of the families by their lower case, other people's too.
_SYMBOLS = {name.rstrip("(").lower(): f.symbol for f in FAMILIES for name in (f.symbol, *f.aliases)}

_ANY_SYMBOL = "|".join(sorted((re.escape(k) for k in _SYMBOLS), key=len, reverse=True))

_BARE = "|".join(f.symbol for f in FAMILIES if f.parameters == 1 and not f.parentheses)

_PAIRED = "|".join(f.symbol for f in FAMILIES if f.parameters == 2)


def respellings(text: str) -> Iterator[str]:
    """Spellings of the same group that may be in the grammar, of texts that are short enough to be a slip."""
    if len(text) > 80 or "table:" in text:
        return
    plain = unicodedata.normalize("NFKC", text).replace("\\times", "x").replace("\\rtimes", ":")
    plain = re.sub(r"[\s_{}$]", "", plain)
    plain = re.sub(r"[X*]", "x", plain)
    cased = re.sub(rf"(?i)({_ANY_SYMBOL})(?=\(?\d)", lambda m: _SYMBOLS[m[1].lower()], plain)
    unwrapped = re.sub(rf"\b({_BARE})\((\d+)\)", r"\1\2", cased)
    paired = re.sub(rf"\b({_PAIRED})(\d)\((\d+)\)", r"\1(\2,\3)", unwrapped)
    yield from (t for t in dict.fromkeys((plain, cased, unwrapped, paired)) if t != text)


#: Examples, by what the line of the grammar says about them.
_LINES = {
    **{f"{', '.join(f.examples)}: {f.help}": (*f.examples, *f.aliases) for f in FAMILIES},
    **{f"{examples}: {meaning}": examples.split(", ") for examples, meaning in OPERATORS if examples},
}


def nearest_line(text: str) -> str:
    """The line of the grammar whose examples are most like the text, "" when none is."""
    matcher = difflib.SequenceMatcher(b=re.sub(r"\s+", "", text[:80]).lower(), autojunk=False)
    best, nearest = 0.5, ""
    for line, examples in _LINES.items():
        for example in examples:
            matcher.set_seq1(example.lower())
            if matcher.real_quick_ratio() > best and (likeness := matcher.ratio()) > best:
                best, nearest = likeness, line
    return nearest
