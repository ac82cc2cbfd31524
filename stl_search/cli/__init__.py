"""The command line `stl-search`: parses and calls, nothing else. One module per group of commands."""

from stl_search.cli.main import main

__all__ = ["main"]
