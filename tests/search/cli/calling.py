"""Calling a command in this process, as the tests of commands do."""

from click.testing import CliRunner

from stl_search.cli import main


def call(*arguments):
    """The outcome of `stl-search ARGUMENTS`."""
    return CliRunner().invoke(main, [str(a) for a in arguments])
