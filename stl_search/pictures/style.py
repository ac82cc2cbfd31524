"""One style for all pictures: colours, fonts, margins."""

from __future__ import annotations

from typing import Any, Literal

#: Colours that the common forms of colour blindness keep apart (Okabe and Ito 2008).
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B", "#666666")

#: Of signed entries, from the most negative to the most positive, with the share of the largest from which on
#: a negative one has a dash as well.
SIGNED = ((0.0, PALETTE[1]), (0.5, "#ffffff"), (1.0, PALETTE[0]))
SEEN = 0.08

#: Kinds of lines beside the colours, as matplotlib and as plotly call them.
DASHES: tuple[tuple[Literal["solid", "dashed", "dotted", "dashdot"], str], ...] = (
    ("solid", "solid"),
    ("dashed", "dash"),
    ("dotted", "dot"),
    ("dashdot", "dashdot"),
)

#: What is the project's own in a comparison, and the series beside it.
ACCENT = "#b5341c"
SERIES = ("#1f6fb4", "#2aa198", "#6c4f8c", "#d17ab0", "#2f8f46", "#9bbf1f", "#d9912b", "#555555")

#: Of every plotly figure.
PLOTLY_LAYOUT: dict[str, Any] = {
    "template": "simple_white",
    "font": {"family": "Inter, Helvetica, Arial, sans-serif", "size": 13},
    "margin": {"l": 60, "r": 20, "t": 30, "b": 50},
}
