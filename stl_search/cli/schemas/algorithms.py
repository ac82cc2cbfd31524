"""Schemas of what is said of algorithms: proofs, scores, symmetries, frontiers."""

from __future__ import annotations

from stl_algebra.precision import PRECISIONS
from stl_search.cli.schemas.terms import (
    Schema,
    boolean,
    by,
    either,
    integer,
    many,
    maybe,
    number,
    one_of,
    record,
    text,
)

TILE = text('Format, "4x4x4".')
RANK = integer("Products per tile triple.")

#: Keys of a proof.
CERTIFICATE = {
    "exact": boolean("Whether it multiplies matrices exactly."),
    "ring": text('Smallest ring it is exact over: "Z", "Z[1/2]", ...; "" where it is not exact.'),
    "denominators": many(integer(), "Common ones of encode_x, encode_w and decode; empty if not rational."),
    "gf2": maybe(boolean("Whether it is exact modulo 2; null where its numbers have no residues.")),
    "digest": text("SHA-256 of format and factors, which names the algorithm."),
    "method": text("How it was checked."),
}

#: Keys of closed-form scores, and those that one of two kinds of tiles has.
SCORES = {
    "amplification": number("A, what rounding errors are multiplied by."),
    **{f"total_{name}": number(f"NMSE + c A, c of {p.words}.") for name, p in PRECISIONS.items()},
    "column_row_nmse": number("NMSE of sampling columns and rows at the same ratio."),
    "ratio": number("nkm / rank."),
}
KIND_OF_TILES: dict[str, Schema] = {
    "nmse_white": number("Relative squared error on white tiles, in closed form."),
    "nmse_profile": number("Likewise on tiles of a profile, in the place of nmse_white."),
    "profile": many(number(), "The profile: shares of variance, in falling order."),
}


def scores(about: str = "Scores in closed form.", **more: Schema) -> Schema:
    """Scores as an object, with further keys."""
    return record(about, **SCORES, **more, optional=KIND_OF_TILES)


_BEFORE_AFTER = record(
    "Of both.", before=number("Of the algorithm as given."), after=number("Of its companion.")
)

_SYMMETRIES = record(
    "A group of symmetries.",
    order=integer("Of the group."),
    names=many(text(), "Names that it has here."),
    optional={
        "small_group": maybe(many(integer(), "GAP's SmallGroup number.", 2)),
        "abelian": boolean("Whether it is abelian."),
        "element_orders": by("order", integer(), "Elements of that order."),
        "centre": integer("Order of the centre."),
    },
)

_FOUND = record(
    "An encoders file of a folder.",
    tile=TILE,
    rank=RANK,
    name=text("Of the algorithm."),
    family=text("Family that made it."),
    groups=many(text(), "Groups that it was made from."),
    tiles=text('Tiles its scores are for: "white" or a profile.'),
    total=number("NMSE + c A at the dtype asked for."),
    **SCORES,
    exact=boolean("Whether it is proven exact."),
    command=text('Command that made it; "" where it is not recorded.'),
    file=text("Its path."),
    optional={**KIND_OF_TILES, "copied": boolean("With --into: whether it was better than the file there.")},
)

_EXACT_FORMAT = record(
    "A format.",
    tile=TILE,
    products=integer("n k m."),
    rank=integer("Of the package's algorithm."),
    best_known=integer("Rank, over any ring."),
    best_known_integers=integer("Rank, over the integers."),
    gap=integer("rank - best_known."),
    exact=CERTIFICATE["exact"],
    ring=CERTIFICATE["ring"],
    gf2=CERTIFICATE["gf2"],
    amplification=SCORES["amplification"],
    origin=text("How it is made: seed, sum-n, sum-k, sum-m, kronecker."),
    parts=many(text(), "Formats that it is made from."),
)

_CANDIDATE = record(
    "What the package has.",
    name=text('As commands take it: "4x4x4-r32", "2x2x2-r7*4x4x4-r36".'),
    tile=TILE,
    rank=RANK,
    total=number("NMSE + c A at the dtype."),
    **SCORES,
    weights=number("Numbers of encoded weights over dense ones."),
    activations=number("Numbers of encoded activations over dense ones."),
    optional={
        **KIND_OF_TILES,
        "seconds": number("Predicted for the shape on the device; this and the next two with --shape."),
        "dense_seconds": number("Predicted of the dense product."),
        "speedup": number("dense_seconds / seconds."),
    },
)

_ROW = record(
    "An error of a method on one pair of matrices.",
    method=text("The algorithm or the baseline."),
    kind=one_of("What it is.", "encoders", "baseline"),
    tile=text('Format; "" of baselines.'),
    rank=integer("Products; 0 of baselines."),
    ratio=number("Multiplication ratio."),
    matrices=text("Name of the pair."),
    nmse=number("Relative squared error, Frobenius norm."),
    spectral=number("Relative error in the spectral norm."),
    coloured_nmse=number("In closed form in the colour of the tiles; 0 of baselines."),
    amplification=number("Of rounding errors in that colour."),
    total=number("nmse and the rounding term at the dtype."),
)

SCHEMAS: dict[str, Schema] = {
    "find": record(
        "The algorithm that was found; exit code 1 where its rank is above the one asked for.",
        file=text("Encoders file."),
        rank=RANK,
        **CERTIFICATE,
    ),
    "descend": record(
        "Ranks from the highest down.",
        tile=TILE,
        dtype=text("Whose rounding counts."),
        ranks=many(
            record(
                "A rank.",
                rank=RANK,
                total=number("Least NMSE + c A now."),
                before=maybe(number("And before; null where nothing was known.")),
                written=boolean("Whether the folder has it from this command."),
            )
        ),
        folder=text("Where encoders/ is."),
    ),
    "verify": record(
        "A proof, or how far from exact; exit code 1 where it does not hold.",
        **CERTIFICATE,
        message=text("The answer in words."),
        wrong_entries=integer("Of the tensor."),
        read_as=text("Conventions of the file."),
        hint=text('What may be wrong with the file, or "".'),
        additions=record(
            "Of encode_x, encode_w, decode for one tile of each.",
            plain=many(integer(), "As the factors stand.", 3),
            shared=many(integer(), "With common sums computed once.", 3),
            scalings=integer("Coefficients other than 1 and -1."),
        ),
        optional={
            "asked": text("With --ring: the ring."),
            "holds": boolean("With --ring: whether it is exact over it."),
        },
    ),
    "evaluate": record(
        "An algorithm and every baseline at its ratio.",
        closed_form=scores(),
        rows=many(_ROW),
    ),
    "symmetry": record(
        "The stabiliser of an algorithm.",
        format=TILE,
        rank=RANK,
        order=integer("Of the group; of its counted part where the whole is infinite."),
        infinite=boolean("Whether the whole group is."),
        continuous_dimension=integer("Of the continuous part; 0 of a finite group."),
        group=_SYMMETRIES,
        preserving=_SYMMETRIES,
        orbits=many(
            record(
                "An orbit of products.",
                size=integer("Products."),
                matrix_ranks=many(integer(), "Of its X, W and Z matrices.", 3),
            )
        ),
        modes=many(text(), "What X, W and Z = Y^T become."),
        generators=many(text(), "As `find --symmetry` takes them."),
    ),
    "balance": record(
        "Before and after the change of bases.",
        file=text("Encoders file that was written."),
        amplification=_BEFORE_AFTER,
        totals=by("precision", _BEFORE_AFTER, "NMSE + c A."),
        parent=record(
            "The algorithm as given.",
            name=text("Of it."),
            digest=text("Of it."),
            verified=text("Its proof in words."),
        ),
    ),
    "import": record(
        "The encoders file that was written.",
        file=text("Its path."),
        read_as=text("Conventions of the source."),
        hint=text('What may be wrong with the source, or "".'),
        **CERTIFICATE,
    ),
    "frontier": either(
        "By options.",
        many(_FOUND, "Of folders: the best of every format, kind of tiles and rank."),
        record(
            "With --exact.",
            source_of_best_known=text("Of the best known ranks."),
            as_of=text("Year and month."),
            rows=many(_EXACT_FORMAT),
        ),
        record(
            "With --ratio.",
            ratio=number("Asked for."),
            shape=maybe(many(integer(), "N, K, M; null without --shape.", 3)),
            device=maybe(text("Whose times are predicted; null without --device.")),
            dtype=text("Whose rounding counts."),
            candidates=many(_CANDIDATE, "By error."),
        ),
    ),
}
