"""`stl-search completion`: the script that makes a shell complete commands, options and names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "zsh", "fish")
#: What click looks for in the environment when the shell asks.
_VARIABLE = "_STL_SEARCH_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print the script that makes a shell complete commands, options, files, and names of groups, formats,
    published encoders, families, recipes and devices.

    \b
    Example:
      eval "$(stl-search completion bash)"                 a line for ~/.bashrc
      eval "$(stl-search completion zsh)"                  a line for ~/.zshrc, after compinit
      stl-search completion fish > ~/.config/fish/completions/stl-search.fish
    """
    found = get_completion_class(shell)
    assert found is not None, shell
    click.echo(found(click.Command("stl-search"), {}, "stl-search", _VARIABLE).source())
