"""What commands print with `--json`, as JSON Schema (2020-12): one schema a command, every object strict.

`SCHEMAS` maps a command as it is typed ("train lm") to its schema, and "error" to what is printed in its
place when the command fails. A new command with --json needs a line here; a test runs each and compares.
"""

from stl_search.cli.schemas import algorithms, groups, models, searches
from stl_search.cli.schemas.terms import Schema, integer, record, text

DIALECT = "https://json-schema.org/draft/2020-12/schema"

ERROR = record(
    "Printed in the place of a result when the command fails, beside one line on stderr.",
    error=record(
        "What went wrong.",
        kind=text("Class of the error: InvalidInput, TooLarge, NothingFound, UsageError, ..."),
        message=text("The line that stderr has."),
        exit_code=integer("Of the command: 2 it cannot be run as given, 1 it could not do what was asked."),
        optional={
            "argument": text("The argument or file that is wrong; this and the next three of InvalidInput."),
            "expected": text("What was expected of it."),
            "got": text("What was got."),
            "hint": text('What to do, or "".'),
        },
    ),
)

SCHEMAS: dict[str, Schema] = {
    **searches.SCHEMAS,
    **algorithms.SCHEMAS,
    **groups.SCHEMAS,
    **models.SCHEMAS,
    "error": ERROR,
}


def document(name: str) -> Schema:
    """The schema of a command as a document of its own."""
    return {"$schema": DIALECT, "title": f"stl-search {name} --json", **SCHEMAS[name]}


__all__ = ["DIALECT", "ERROR", "SCHEMAS", "document"]
