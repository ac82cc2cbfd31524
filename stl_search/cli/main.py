"""The root command and the table of all others; each is imported when it is asked for."""

from __future__ import annotations

import os

import click

from stl_algebra.version import __version__
from stl_search.cli.common import Group

#: Heading of the list -> name -> (module, one line), all in the order of the list.
SECTIONS = {
    "Search": {
        "run": ("run", "Search encoders, score them, save the winners, write a report."),
        "find": ("find", "Search for an exact algorithm of a format."),
        "descend": ("descend", "Improve a frontier: from rank to rank by removals, each polished."),
        "worker": ("worker", "Work on a study that a run has started, from this machine too."),
        "watch": ("watch", "A study as it stands: totals by rank, trials, cost and gain by arm."),
        "report": ("report", "Write the report of a run folder again."),
    },
    "Algorithms": {
        "frontier": ("frontier", "The best encoders of folders, by format and rank."),
        "verify": ("verify", "Check in exact arithmetic that an algorithm multiplies matrices."),
        "evaluate": ("evaluate", "Score an encoders file and every baseline on matrices."),
        "symmetry": ("symmetry", "The symmetries of an algorithm: group, orbits, modes."),
        "balance": ("balance", "Change an algorithm's bases so that it amplifies rounding least."),
        "import": ("import", "Read another program's algorithm into an encoders file."),
        "export": ("export", "Write an algorithm in another format."),
    },
    "Groups": {
        "groups": ("groups", "List named groups of order up to 60, and the grammar of names."),
        "group": ("group", "Show a group: its names, subgroups, characters, irreps."),
        "tpp": ("tpp", "Say whether a group realises a format."),
    },
    "Models": {
        "convert": ("convert", "Convert a model: compressed layers on exact tiles, calibrated on a text."),
        "train": ("train", "Train a model with STL layers, or as a control of one."),
        "capture": ("capture", "Record inputs and weights of a model's linear layers on a text."),
        "profile": ("profile", "Measure how the variance of layers' sorted features is spread."),
        "bench": ("bench", "Measure on this machine."),
    },
    "This program": {
        "completion": ("completion", "Print what makes a shell complete commands, options and names."),
        "schema": ("schema", "Describe what a command prints with --json, as JSON Schema."),
    },
}
COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}

#: What one does most, each with a command to begin with; `stl-search` alone shows them.
TASKS = (
    (
        "Search encoders from groups; the folder gets a report",
        "stl-search run --group S3 --group C2^5 --tile 4 --rank 32 --budget 60s --out first-run",
    ),
    (
        "Choose among what is known: least error that saves half of the products",
        "stl-search frontier --ratio 2",
    ),
    (
        "Find an exact algorithm",
        "stl-search find 4x4x4 --rank 48 --symmetry rational-48 --seed 4 --budget 10m",
    ),
    (
        "Prove one, found, published or from a file",
        "stl-search verify 4x4x4-r48",
    ),
    (
        "Convert a model, and judge it on another text",
        "stl-search convert ./all-MiniLM-L6-v2 --calibrate book.txt --out minilm-2x --evaluate other.txt",
    ),
    (
        "Train one with encoded layers",
        "stl-search train vision --data cifar10.npz --model t2t-vit-small-32 --epochs 10 --out net",
    ),
)


@click.group(
    cls=Group,
    sections=SECTIONS,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="stl-search")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Find, score and export encoders for the Strassen-Tile operator; make layers and models of them.

    \b
    Example:
      stl-search run --group S3 --group C2^5 --tile 4 --rank 32 --budget 60s
    """
    # transformers has bars of its own for what takes a moment, which would fill a pipe.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if ctx.invoked_subcommand is None:
        click.echo(f"stl-search {__version__}: encoders for fast matrix products, exact and approximate\n")
        for task, command in TASKS:
            click.echo(f"{task}:\n  {command}\n")
        click.echo(
            "All commands: stl-search --help. Options of one, with examples: stl-search COMMAND --help."
        )
        click.echo("Completion in bash, zsh and fish: stl-search completion --help.")
