"""The root command and the table of all others; each is imported when it is asked for."""

from __future__ import annotations

import click

from stl_algebra.version import __version__
from stl_search.cli.common import Group

#: Name -> (module, one line), in the order of the list.
COMMANDS = {
    "groups": ("groups", "List named groups of order up to 60, and the grammar of names."),
    "group": ("group", "Show a group: its names, subgroups, characters, irreps."),
    "tpp": ("tpp", "Say whether a group realises a format."),
    "run": ("run", "Search encoders, score them, save the winners, write a report."),
    "descend": ("descend", "Improve a frontier: from rank to rank by removals, each polished."),
    "worker": ("worker", "Work on a study that a run has started, from this machine too."),
    "watch": ("watch", "A study as it stands: totals by rank, trials, cost and gain by arm."),
    "report": ("report", "Write the report of a run folder again."),
    "capture": ("capture", "Record inputs and weights of a model's linear layers on a text."),
    "profile": ("profile", "Measure how the variance of layers' sorted features is spread."),
    "convert": ("convert", "Convert a model: compressed layers on exact tiles, calibrated on a text."),
    "train": ("train", "Train a model with STL layers, or as a control of one."),
    "evaluate": ("evaluate", "Score an encoders file and every baseline on matrices."),
    "verify": ("verify", "Check in exact arithmetic that an algorithm multiplies matrices."),
    "symmetry": ("symmetry", "The symmetries of an algorithm: group, orbits, modes."),
    "balance": ("balance", "Change an algorithm's bases so that it amplifies rounding least."),
    "frontier": ("frontier", "The best encoders of folders, by format and rank."),
    "import": ("import", "Read another program's algorithm into an encoders file."),
    "export": ("export", "Write an algorithm in another format."),
    "find": ("find", "Search for an exact algorithm of a format."),
    "bench": ("bench", "Measure on this machine."),
}


@click.group(
    cls=Group,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="stl-search")
def main() -> None:
    """Find, score and export encoders for the Strassen-Tile operator.

    \b
    Example:
      stl-search run --group S3 --group C2^5 --tile 4 --rank 32 --budget 60s
    """
