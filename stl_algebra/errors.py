"""The exceptions that the three packages raise for what a caller gave them.

Every error that a user can cause derives from `StlError`; the command line prints it as one line and
exits with 2 (`InvalidInput`) or 1 (everything else). Failures of our own logic are assertions.
"""

from __future__ import annotations


class StlError(Exception):
    """Root of every error that stl-algebra raises on purpose."""


class InvalidInput(StlError, ValueError):
    """An argument or a file is not what was expected.

    Built from its parts, so that every message names the argument, what was expected, what was got and,
    where there is one, a next step.
    """

    def __init__(self, argument: str, *, expected: str, got: object, hint: str = "") -> None:
        self.argument, self.expected, self.got, self.hint = argument, expected, got, hint
        shown = got if isinstance(got, str) else repr(got)
        if len(shown) > 200:
            shown = shown[:197] + "..."
        message = f"{argument}: expected {expected}, got {shown}"
        super().__init__(f"{message}; {hint}" if hint else message)

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default reduction, and worker processes pickle errors.
        return _rebuild_invalid_input, (self.argument, self.expected, self.got, self.hint)


def _rebuild_invalid_input(argument: str, expected: str, got: object, hint: str) -> InvalidInput:
    return InvalidInput(argument, expected=expected, got=got, hint=hint)


class TooLarge(StlError):
    """The request is well formed but would take more memory or time than is allowed; says how much."""


class NotExact(StlError):
    """An algorithm was asked to be exact and exact arithmetic says that it is not."""


class Unavailable(StlError):
    """Something outside the program does not answer: a storage, a device, an optional package, a file."""


class NoCandidate(StlError):
    """A family has nothing to offer for a request, for instance because the group is too small."""
