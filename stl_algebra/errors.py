"""The exceptions that the packages raise for what a caller gave them, and the command line's exit codes.

Every error that a user can cause derives from `StlError`; the command line prints it as one line and exits
with its `exit_code`: 2 where the command cannot be run as given (wrong input, too large, something outside
that does not answer), 1 where it ran and could not do what was asked. 0 is done. Failures of our own logic
are assertions.
"""

from __future__ import annotations


class StlError(Exception):
    """Root of every error that stl-algebra raises on purpose."""

    #: Of the command line when this ends a command.
    exit_code = 1


class InvalidInput(StlError, ValueError):
    """An argument or a file is not what was expected.

    Built from its parts, so that every message names the argument, what was expected, what was got and,
    where there is one, a next step.
    """

    exit_code = 2

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

    exit_code = 2


class NotExact(StlError):
    """An algorithm was asked to be exact and exact arithmetic says that it is not."""


class Unavailable(StlError):
    """Something outside the program does not answer: a storage, a device, an optional package, a file."""

    exit_code = 2


class NoCandidate(StlError):
    """A family has nothing to offer for a request, for instance because the group is too small."""


class NothingFound(StlError):
    """A search ended without what was asked for."""
