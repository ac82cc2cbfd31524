"""Storage URLs as people see them."""

from __future__ import annotations

import re


def without_password(text: str) -> str:
    """The text with every password in a URL left out."""
    return re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1@", text)
