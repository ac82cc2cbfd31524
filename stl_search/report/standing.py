"""Where encoders stand among what one would use otherwise: places at equal savings, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stl_search.judging.evaluation import Row

#: Ratios that differ by less than this share count as equal (64/48 and 1.33).
EQUAL = 0.005


@dataclass(frozen=True)
class Standing:
    """The best encoders of a ratio on one pair of matrices, among the baselines that save as much.

    Attributes:
        matrices: name of the pair.
        ratio: at least this many times fewer multiplications.
        encoders: the row of least total among the encoders that save as much.
        baselines: a row of each baseline that saves as much, least total first.
    """

    matrices: str
    ratio: float
    encoders: Row
    baselines: tuple[Row, ...]

    @property
    def place(self) -> int:
        """1 when no baseline has a smaller total."""
        return 1 + sum(row.total < self.encoders.total for row in self.baselines)

    @property
    def of(self) -> int:
        """How many are compared, the encoders among them."""
        return 1 + len(self.baselines)


def standings(rows: Sequence[Row], ratios: Sequence[float], chosen: Sequence[int] = ()) -> list[Standing]:
    """For every pair and ratio where there are encoders and baselines, in the order of the rows.

    Args:
        rows: of an evaluation.
        ratios: to compare at.
        chosen: ranks that count; all when empty.
    """
    out = []
    for matrices in dict.fromkeys(row.matrices for row in rows):
        here = [row for row in rows if row.matrices == matrices]
        for ratio in ratios:
            saving = [row for row in here if row.ratio >= ratio * (1 - EQUAL)]
            mine = [r for r in saving if r.kind == "encoders" and (not chosen or r.rank in chosen)]
            best: dict[str, Row] = {}
            for row in saving:
                if row.kind == "baseline" and (row.method not in best or row.total < best[row.method].total):
                    best[row.method] = row
            if mine and best:
                ordered = tuple(sorted(best.values(), key=lambda r: r.total))
                out.append(Standing(matrices, ratio, min(mine, key=lambda r: r.total), ordered))
    return out


def headline(found: Sequence[Standing]) -> str:
    """One sentence on the standings of one algorithm at its own ratio; "" without any."""
    if not found:
        return ""
    first = [s for s in found if s.place == 1]
    places = ", ".join(f"{s.place} of {s.of} on {s.matrices}" for s in found)
    text = f"Among the baselines that save as much ({found[0].ratio:.2f} times) its place is {places}."
    if len(first) == len(found):
        return text + " None has a smaller error."
    ahead: dict[str, int] = {}
    for s in found:
        if s.place > 1:
            ahead[s.baselines[0].method] = ahead.get(s.baselines[0].method, 0) + 1
    names = ", ".join(f"{name} ({count} of {len(found)})" for name, count in ahead.items())
    return text + f" Ahead of all: {names}."
