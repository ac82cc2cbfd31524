"""Where the figures of the theory come from, and those of other pages that encoders alone decide."""

import json
import math
from functools import cache

from stl_algebra import encoders
from stl_algebra.algorithms.balance import balance
from stl_algebra.algorithms.dyadic import companion
from stl_algebra.algorithms.scores import amplification, closed_form_scores, inner_losses
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.exact.catalogue import exact_algorithm, strassen
from stl_algebra.published import encoders_file
from stl_kernels.layers.costs import neighbour_dependence_of
from tests.figures.pages import ROOT
from tests.figures.stored import BLOCKS, errors_of_sorted

THEORY, FAQ = "docs/theory.md", "docs/faq.md"
RANKS = (40, 32, 24)


def rounding(places, bits):
    """c e^2 of section 2."""
    return places * 2 ** (2 - 2 * bits) / (32 * math.log(2))


def constant(dtype):
    """c e^2 as it was measured."""
    found = json.loads((ROOT / "stl_algebra/data/dtype_constants.json").read_text(encoding="utf-8"))
    return found["constants"][dtype]["added_nmse_per_amplification"]


def total_at_rank_32():
    return (closed_form_scores(encoders("4x4x4", rank=32)).total("bf16"),)


def unknowns():
    return (encoders("4x4x4", rank=48).provenance.parameters["free_parameters"], 48 * 48)


@cache
def known(sides):
    return exact_algorithm(TileFormat.parse(sides))


def least(*formats):
    return tuple(amplification(balance(known(sides))) for sides in formats)


def of_companions():
    parents = (strassen(), known("3x3x3"), known("3x4x4"), encoders("4x4x4", 49), encoders("4x4x4", 48))
    return tuple(amplification(companion(parent)) for parent in parents)


def about_the_mean():
    """How much larger errors relative to the output about its mean are, on average of the text's ranks."""
    pairs = zip(
        errors_of_sorted("minilm", "sorted profile", RANKS, "error_about_mean"),
        errors_of_sorted("minilm", "sorted profile", RANKS),
        strict=True,
    )
    found = [about / plain for about, plain in pairs]
    return (sum(found) / len(found),)


def total_of(tile, rank):
    """Published, at bf16."""
    return encoders_file(tile, rank).judged().scores.total("bf16")


def of_both_models(method, rank):
    return tuple(errors_of_sorted(source, method, (rank,))[0] for source in ("minilm", "smollm2-135m"))


def sorted_over_white(source, kinds=("error", "error_about_mean")):
    """At each of the text's ranks, of the output, then of the output about its mean."""
    return tuple(
        fitted / white
        for which in kinds
        for fitted, white in zip(
            errors_of_sorted(source, "sorted profile", RANKS, which),
            errors_of_sorted(source, "white, same layout", RANKS, which),
            strict=True,
        )
    )


def partial_losses():
    """The one loss of rank 24, and of rank 32, that is neither next to nothing nor all."""
    return tuple(
        float(inner_losses(encoders("4x4x4", rank, profile="sorted"))[axis])
        for rank, axis in ((24, 1), (32, 2))
    )


def ratio(rank, width):
    """With dense encoding and decoding, K = M."""
    return 1 / (rank / 64 + 2 * rank / width)


def ratios_with_both():
    """At the widths of the text, after those of each rank its core ratio."""
    return tuple(
        value
        for rank, widths in ((24, (256, 576, 2048)), (49, (576, 8192)))
        for value in (*(ratio(rank, width) for width in widths), 64 / rank)
    )


FIGURES = [
    (
        THEORY,
        r"c = 3: (\S+) and (\S+)\. tf32 \(p = 11\) rounds the operands only, c = 2: (\S+)\.",
        lambda: (rounding(3, 8), rounding(3, 11), rounding(2, 11)),
    ),
    (THEORY, r"measured (\S+), (\S+) and (\S+) \(", lambda: tuple(map(constant, ("bf16", "fp16", "tf32")))),
    (
        THEORY,
        r"c\(dtype\) is (\d+) and 10\^(\d+) times smaller there",
        lambda: (constant("bf16") / constant("fp16"), math.log10(constant("bf16") / constant("fp32"))),
    ),
    (THEORY, r"rank 32 the published encoders have a total of (\.\d+) at bf16", total_at_rank_32),
    (
        THEORY,
        r"64/49 = ([\d.]+) or 64/48 = ([\d.]+) for <4,4,4>, and of 512/336 = ([\d.]+) for",
        lambda: (64 / 49, 64 / 48, 512 / 336),
    ),
    (THEORY, r"one of 16, (\d+) unknowns in place of (\d+)", unknowns),
    ("docs/symmetry.md", r"has (\d+) unknowns there instead of ([\d,]+)\.", unknowns),
    (THEORY, r"\(25/9\)\^2 = ([\d.]+) for the 49 products", lambda: ((25 / 9) ** 2,)),
    (
        THEORY,
        r"run it: <2,2,2;7> ([\d.]+), <3,3,3;23> ([\d.]+), <3,4,4;38> ([\d.]+), Strassen twice ([\d.]+); "
        r"<4,4,4;48> is at its minimum (\d+) as",
        of_companions,
    ),
    (
        THEORY,
        r"\(<2,3,3;15> ([\d.]+), <2,4,4;26> ([\d.]+), <3,3,3;23> ([\d.]+), <3,4,4;38> ([\d.]+), "
        r"<4,4,4;48> (\d+), <5,5,5;93> ([\d.]+)\)",
        lambda: least("2x3x3", "2x4x4", "3x3x3", "3x4x4", "4x4x4", "5x5x5"),
    ),
    (
        THEORY,
        r"encoders err by (\.\d+), (\.\d+) and (\.\d+) of the output",
        lambda: errors_of_sorted("minilm", "sorted profile", RANKS),
    ),
    (
        THEORY,
        r"same sorted features by (\.\d+), (\.\d+) and (\.\d+):",
        lambda: errors_of_sorted("minilm", "white, same layout", RANKS),
    ),
    (THEORY, r"about its mean they are ([\d.]+) times as much", about_the_mean),
    (
        THEORY,
        r"they\s+are (\.\d+), (\.\d+) and (\.\d+) of the white ones at these ranks, "
        r"(\.\d+), (\.\d+) and (\.\d+) about",
        lambda: sorted_over_white("smollm2-135m"),
    ),
    (
        THEORY,
        r"blocks they are (\.\d+), (\.\d+) and (\.\d+) of them",
        lambda: sorted_over_white(BLOCKS, ("error",)),
    ),
    (
        THEORY,
        r"l is nearly \(0, (\.\d+), 1, 1\) at r =\s+24 and \(0, 0, (\.\d+), 1\) at 32",
        partial_losses,
    ),
    (
        THEORY,
        r"r = 32 errs by (\.\d+) and (\.\d+) on the two",
        lambda: of_both_models("sorted profile, by variance", 32),
    ),
    (
        THEORY,
        r"<2,2,3;10> has a total of (\.\d+), <2,4,4;25> one of (\.\d+), and <4,4,6;70>",
        lambda: (total_of("2x2x3", 10), total_of("2x4x4", 25)),
    ),
    (
        THEORY,
        r"refined, one of (\.\d+) at a ratio of ([\d.]+), where the best <4,4,4> has (\.\d+); "
        r"<4,4,4;47> has (\.\d+), and in float32 alone (\.\d+)\.",
        lambda: (
            total_of("4x4x6", 70),
            96 / 70,
            total_of("4x4x4", 46),
            total_of("4x4x4", 47),
            encoders_file("4x4x4", 47, dtype="fp32").judged().scores.total("fp32"),
        ),
    ),
    (
        THEORY,
        r"<4,8,4;64> errs by (\.\d+) and (\.\d+) on the two",
        lambda: of_both_models("sorted profile, <4,8,4>", 64),
    ),
    (
        THEORY,
        r"where <4,4,4;32> errs by (\.\d+) and (\.\d+),",
        lambda: of_both_models("sorted profile", 32),
    ),
    (
        THEORY,
        r"this is ([\d.]+) at width 256, ([\d.]+) at 576 and ([\d.]+) at 2048 for r = 24 \(core ([\d.]+)\), "
        r"and ([\d.]+) at 576, ([\d.]+) at 8192 for r = 49 \(core ([\d.]+)\)",
        ratios_with_both,
    ),
    (
        THEORY,
        r"each: ([\d.]+) an entry of X and ([\d.]+) an entry of Y for the 49",
        lambda: (4 / 4 * (1 + 7 / 4), 7 / 4 * (1 + 7 / 4)),
    ),
    (
        THEORY,
        r"times X: (\d+) times at r = 32, ([\d.]+) at r = 49",
        lambda: (32 / 16, 49 / 16),
    ),
    (
        FAQ,
        r"<4,4,4>: ([\d.]+) times at rank 32, (\d+) times at 48",
        lambda: (32 / 16, 48 / 16),
    ),
    (
        FAQ,
        r"moves a row by (\d+)% of its norm",
        lambda: (100 * neighbour_dependence_of(encoders("4x4x4", 32)),),
    ),
    ("docs/will-it-help.md", r"encoded weights are (\d+) times as many", lambda: (48 / 16,)),
    (
        "docs/start.md",
        r"at an error of (\.\d+) is no bargain",
        lambda: (closed_form_scores(encoders("4x4x4", rank=32)).nmse,),
    ),
]
