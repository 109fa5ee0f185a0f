"""`adriatic completion`: what a shell must run so that Tab completes our commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    eval "$(adriatic completion bash)"                 in ~/.bashrc
    eval "$(adriatic completion zsh)"                  in ~/.zshrc
    adriatic completion fish | source                  in ~/.config/fish/config.fish
    """
    from adriatic.cli import cli

    found = get_completion_class(shell)
    assert found is not None, "the choices are click's own"
    click.echo(found(cli, {}, "adriatic", "_ADRIATIC_COMPLETE").source())
