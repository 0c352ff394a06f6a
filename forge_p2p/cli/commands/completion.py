"""`forge completion`: the shell asks `forge` what can follow."""

import click

from forge_p2p.cli.app import forge
from forge_p2p.cli.settings import ForgeCommand

SHELLS = ("bash", "zsh", "fish")


@click.command("completion", cls=ForgeCommand)
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the completion script for a shell.

    \b
    bash:  forge completion bash > ~/.local/share/bash-completion/completions/forge
    zsh:   forge completion zsh > "${fpath[1]}/_forge"
    fish:  forge completion fish > ~/.config/fish/completions/forge.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None, f"click knows no {shell}"
    click.echo(found(forge, {}, "forge", "_FORGE_COMPLETE").source())
