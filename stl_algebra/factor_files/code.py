"""A scheme as text: a function on numpy arrays, or LaTeX."""

from __future__ import annotations

import re
from fractions import Fraction

from stl_algebra.algorithms.bilinear import Array
from stl_algebra.algorithms.judged import Judged
from stl_algebra.algorithms.verify import rational_entry


def numpy_code(judged: Judged) -> str:
    """A Python module with one function that multiplies two matrices of the format, or of blocks of it."""
    a, t = judged.algorithm, judged.algorithm.tile
    name = "multiply_" + re.sub(r"\W", "_", f"{t.slug}_r{a.rank}")
    x = [f"a[{i}][{l}]" for i in range(t.n) for l in range(t.k)]
    w = [f"b[{l}][{j}]" for l in range(t.k) for j in range(t.m)]
    lines = [
        f'"""{a.name or "An algorithm"} for {t}: {a.rank} products; {judged.verification.message}."""',
        "",
        "import numpy as np",
        "",
        "",
        f"def {name}(x, w):",
        f'    """x @ w for x ({t.n}p, {t.k}q) and w ({t.k}q, {t.m}s), by {a.rank} products of blocks."""',
        f"    a = [np.split(row, {t.k}, axis=1) for row in np.split(x, {t.n}, axis=0)]",
        f"    b = [np.split(row, {t.m}, axis=1) for row in np.split(w, {t.k}, axis=0)]",
    ]
    for r in range(a.rank):
        left, right = _sum(a.encode_x[r], x, judged.exact), _sum(a.encode_w[r], w, judged.exact)
        lines.append(f"    p{r} = ({left}) @ ({right})")
    lines.append("    return np.block(")
    lines.append("        [")
    products = [f"p{r}" for r in range(a.rank)]
    for i in range(t.n):
        row = [_sum(a.decode[i * t.m + j], products, judged.exact) for j in range(t.m)]
        lines.append(f"            [{', '.join(row)}],")
    return "\n".join([*lines, "        ]", "    )", ""])


def latex(judged: Judged) -> str:
    """The products and the output's entries as an align* environment; indices from 1."""
    a, t = judged.algorithm, judged.algorithm.tile
    x = [f"a_{{{i + 1}{l + 1}}}" for i in range(t.n) for l in range(t.k)]
    w = [f"b_{{{l + 1}{j + 1}}}" for l in range(t.k) for j in range(t.m)]
    products = [f"p_{{{r + 1}}}" for r in range(a.rank)]
    lines = [f"% {a.name} {t} rank {a.rank}: {judged.verification.message}", r"\begin{align*}"]
    for r in range(a.rank):
        left = _sum(a.encode_x[r], x, judged.exact, r"\,")
        right = _sum(a.encode_w[r], w, judged.exact, r"\,")
        lines.append(f"p_{{{r + 1}}} &= ({left})({right}) \\\\")
    for i in range(t.n):
        for j in range(t.m):
            total = _sum(a.decode[i * t.m + j], products, judged.exact, r"\,")
            lines.append(f"c_{{{i + 1}{j + 1}}} &= {total} \\\\")
    return "\n".join([*lines, r"\end{align*}", ""])


def _sum(row: Array, names: list[str], exact: bool, times: str = " * ") -> str:
    """A linear form in words: "a - 2 * b"; "0 * a" where it vanishes."""
    text = ""
    for value, name in zip(row, names, strict=True):
        if not value:
            continue
        size = abs(float(value))
        fraction = rational_entry(size) if exact else None
        factor = "" if size == 1 else _coefficient(fraction, size, times) + times
        sign = "-" if value < 0 else ""
        text += f" {sign or '+'} {factor}{name}" if text else f"{sign}{factor}{name}"
    return text or f"0{times}{names[0]}"


def _coefficient(fraction: Fraction | None, size: float, times: str) -> str:
    if fraction is None:
        return repr(size)
    if fraction.denominator == 1:
        return str(fraction)
    if times == " * ":
        return f"({fraction})"
    return rf"\tfrac{{{fraction.numerator}}}{{{fraction.denominator}}}"
