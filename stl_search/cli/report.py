"""`stl-search report`: the report of a run folder once more, or of a search that is under way."""

from __future__ import annotations

from pathlib import Path

import click

from stl_search.cli.common import conclude, json_option, progress_bar
from stl_search.cli.names import matrices as matrix_names
from stl_search.matrices.names import MATRICES_HELP


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--matrices", multiple=True, help="Score on these instead. " + MATRICES_HELP, shell_complete=matrix_names
)
@json_option
def report(folder: Path, matrices: tuple[str, ...], as_json: bool) -> None:
    """Write the report of a run folder again, from its storage and encoders files.

    While the search is under way it is the report of what is finished.

    \b
    Example:
      stl-search report results/s3 --matrices random
    """
    from stl_search.runs import report_again

    with progress_bar("report") as progress:
        content = report_again(folder, matrices, progress)
    conclude(content, as_json)
