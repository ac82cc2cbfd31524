"""Schemas of what is said of groups."""

from __future__ import annotations

from stl_search.cli.schemas.terms import (
    Schema,
    boolean,
    by,
    either,
    integer,
    many,
    maybe,
    number,
    record,
    text,
)

_ORDER = integer("Of the group.")

SCHEMAS: dict[str, Schema] = {
    "groups": many(
        record(
            "A group.",
            name=text("Of it."),
            order=_ORDER,
            classes=integer("Conjugacy classes of elements."),
            blocks=many(text(), "Blocks of its real group algebra."),
        ),
        "Named groups of order up to 60.",
    ),
    "group": record(
        "All that is known of a group.",
        name=text("As given, in its standard spelling."),
        order=_ORDER,
        abelian=boolean("Whether it is."),
        isomorphic_to=many(text(), "Its names here."),
        small_group=maybe(many(integer(), "GAP's SmallGroup number; null where it is not known here.", 2)),
        note=text('How the name is meant where people differ, or "".'),
        generators=many(
            record(
                "A generator.",
                letter=text("In words."),
                element=integer("Its number in the Cayley table."),
                order=integer("Of the element."),
            )
        ),
        classes=many(
            record(
                "A conjugacy class.",
                name=text('As in the Atlas of finite groups: "2a".'),
                size=integer("Elements."),
                element_order=integer("Of its elements."),
                representative=text("A word in the generators."),
            )
        ),
        subgroups=maybe(
            many(
                record(
                    "A class of conjugate subgroups.",
                    order=integer("Of each."),
                    index=integer("Of each."),
                    conjugates=integer("How many."),
                    normal=boolean("Whether there is one."),
                    type=text('A name of the group, or "".'),
                    generators=many(text(), "Words in the generators."),
                ),
                "Null where there are too many.",
            )
        ),
        characters=many(
            many(many(number(), "Real and imaginary part.", 2)), "Rows are irreps, columns classes."
        ),
        characters_exact=many(many(text()), "The same as expressions; ζn is exp(2πi/n)."),
        complex_irreps=many(record("An irrep.", degree=integer("Of it."), type=text("Over the reals."))),
        real_irreps=many(
            record(
                "A real irrep.",
                dimension=integer("Over the reals."),
                type=text("real, complex or quaternionic."),
                block=text('Of the group algebra: "M2(R)".'),
                products=integer("That one product in the block takes."),
            )
        ),
        products=integer("That one product in the real group algebra takes."),
        optional={"picture": text("File with --picture.")},
    ),
    "tpp": either(
        "By options.",
        record(
            "Whether a group realises a format.",
            group=text("Its name."),
            order=_ORDER,
            tile=text("Format."),
            realised=boolean("Whether three subsets were found."),
            proven=boolean("Whether the answer is."),
            method=text("What decided it."),
            reason=text("In words."),
            collisions=maybe(integer("Of the best triple; null without one.")),
            subsets=maybe(many(many(integer()), "S, T, U as element numbers.", 3)),
            words=maybe(many(many(text()), "S, T, U as words in the generators.", 3)),
            products=integer("That one product in the real group algebra takes."),
        ),
        many(
            record(
                "A group of the census.",
                group=text("Its name."),
                order=_ORDER,
                largest=integer("n of the largest <n,n,n> it realises; 1 for none."),
                proven=boolean("Whether that is."),
                answers=by(
                    "n",
                    record(
                        "For <n,n,n>.",
                        realised=boolean("Whether."),
                        proven=boolean("Whether the answer is."),
                        method=text("What decided it."),
                    ),
                ),
            ),
            "With --census.",
        ),
    ),
}
