"""The words that schemas are written in. Objects are strict: all keys are required but for `optional`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]


def _typed(kind: str, about: str) -> Schema:
    return {"type": kind, "description": about} if about else {"type": kind}


def text(about: str = "") -> Schema:
    """A string."""
    return _typed("string", about)


def number(about: str = "") -> Schema:
    """A finite number."""
    return _typed("number", about)


def integer(about: str = "") -> Schema:
    """A whole number."""
    return _typed("integer", about)


def boolean(about: str = "") -> Schema:
    """True or false."""
    return _typed("boolean", about)


def maybe(schema: Schema) -> Schema:
    """Or null."""
    return {**schema, "type": [schema["type"], "null"]}


def one_of(about: str, *values: str) -> Schema:
    """A word out of these."""
    return {"type": "string", "enum": list(values), "description": about}


def many(items: Schema, about: str = "", count: int | None = None) -> Schema:
    """A list, of this length where one is given."""
    bounds = {} if count is None else {"minItems": count, "maxItems": count}
    return {**_typed("array", about), "items": items, **bounds}


def by(key: str, values: Schema, about: str = "") -> Schema:
    """An object whose keys are no fixed words."""
    return {
        **_typed("object", f"{about} By {key}.".strip()),
        "additionalProperties": values,
    }


def record(about: str = "", optional: Mapping[str, Schema] | None = None, **properties: Schema) -> Schema:
    """An object with these keys and no others."""
    return {
        **_typed("object", about),
        "properties": {**properties, **(optional or {})},
        "required": list(properties),
        "additionalProperties": False,
    }


def either(about: str, *schemas: Schema) -> Schema:
    """What options decide between."""
    return {"description": about, "anyOf": list(schemas)}
