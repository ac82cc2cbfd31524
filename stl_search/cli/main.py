"""The root command and the registration of all others."""

from __future__ import annotations

import click

from stl_algebra.version import __version__
from stl_search.cli import bench, capture, encoders, find, groups, run, tpp
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
    tpp.tpp,
    run.run,
    run.report,
    capture.capture,
    encoders.evaluate,
    encoders.verify,
    encoders.frontier,
    encoders.export,
    find.find,
    bench.bench,
):
    main.add_command(_command)
