"""Where `forge-edge` starts. Errors become messages and exit codes where `forge`'s do."""

import sys
from collections.abc import Sequence

import click

from forge_p2p import __version__
from forge_p2p.cli.app import LazyGroup
from forge_p2p.cli.main import run_program
from forge_p2p.cli.settings import common_options

COMMANDS = {
    "serve": "Serve what a node has over HTTP.",
    "token": "Issue a bearer token.",
    "revoke": "End a token, by its id.",
    "sign": "Sign a URL's path, for whoever has the URL.",
    "keys": "List, make and remove the keys that sign.",
}


class _Commands(LazyGroup):
    known = COMMANDS
    unlisted = ("node",)  # what `forge seed run` starts
    package = "forge_edge.commands"


@click.group(cls=_Commands, params=common_options(), context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="forge-edge")
def forge_edge() -> None:
    """The HTTP gateway of a Forge node."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    return run_program(forge_edge, "forge-edge", sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    sys.exit(main())
