"""Schemas of what is said of searches and their studies."""

from __future__ import annotations

from stl_search.cli.schemas.algorithms import scores
from stl_search.cli.schemas.terms import Schema, boolean, by, integer, many, maybe, number, record, text

_RUN = record(
    "What a search ended with.",
    folder=text("Of the run."),
    winners=by(
        "rank",
        scores(
            "The best of a rank that no smaller rank beats.",
            name=text("Of the algorithm."),
            digest=text("SHA-256 of format and factors."),
            exact=boolean("Whether it is proven."),
        ),
    ),
    report=text("Page to open in a browser."),
    standing=by("matrices", many(integer(), "Place of the winner among all methods, and how many.", 2)),
    untried_groups=many(text(), "Groups that no trial was made of."),
)
_ARM = {"family": text("Of the arm."), "group": text('Of the arm; "" for none.')}

SCHEMAS: dict[str, Schema] = {
    "run": _RUN,
    "report": _RUN,
    "worker": record(
        "What was done.",
        study=text("Its name."),
        finished=integer("Trials of the study, everybody's."),
        since_start=integer("Of them, since this worker began."),
    ),
    "watch": record(
        "A study as it stands.",
        study=text("Its name."),
        dtype=text("Of all totals."),
        finished=integer("Entries with a result or without a candidate."),
        goal=record(
            "How far it is to be worked off.",
            trials=maybe(integer("Asked for; null for as many as the time allows.")),
            seconds=number("That are left."),
            strategy=text("What comes next within a budget."),
        ),
        ranks=many(
            record(
                "A rank.",
                rank=integer("Products."),
                total=number("Least NMSE + c A."),
                **_ARM,
                name=text("Of the algorithm."),
                ago=number("Seconds since it was found."),
            )
        ),
        arms=many(
            record(
                "A family with a group.",
                **_ARM,
                finished=integer("Trials with a result."),
                without_candidate=integer("Trials without one."),
                running=integer("Trials under way."),
                seconds=number("That its trials took together."),
                best=maybe(number("Least total at the rank asked for.")),
                gain=maybe(number("Share of the least total that would be lost without it.")),
                leads=many(integer(), "Ranks whose least total it found first."),
            )
        ),
        running=many(
            record(
                "A trial under way.",
                **_ARM,
                stage=text("How far it is."),
                seconds=number("Since it was begun."),
                machine=text("Of its worker."),
            )
        ),
        done=boolean("Whether nobody is at work and nothing is left."),
    ),
}
