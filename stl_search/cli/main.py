"""The root command and the registration of all others."""

from __future__ import annotations

import click

from stl_algebra.version import __version__
from stl_search.cli import algorithms, benchmarks, capturing, exact, groups, running, triples
from stl_search.cli.common import Group


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="stl-search")
def main() -> None:
    """Find, score and export encoders for the Strassen-Tile operator.

    \b
    Example:
      stl-search run --group S3 --group C2^5 --tile 4 --rank 32 --budget 60s
    """


for _command in (
    groups.groups,
    groups.group,
    triples.tpp,
    running.run,
    running.report,
    capturing.capture,
    algorithms.evaluate,
    algorithms.verify,
    algorithms.frontier,
    algorithms.export,
    exact.find,
    benchmarks.bench,
):
    main.add_command(_command)
