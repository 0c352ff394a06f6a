"""The command `forge`: names and one line for each command, whose module is imported when it is called."""

from collections.abc import Collection, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

import click

from forge_p2p import __version__
from forge_p2p.cli.settings import common_options

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS = {
    "share": "Share a file or directory and print its ticket.",
    "get": "Fetch what a ticket or link names into DEST.",
    "add": "Put a file or directory into the store and print its link.",
    "ls": "List what is inside a link.",
    "cat": "Write one file's content to standard output.",
    "publish": "Give a directory a name that members of a network can pull.",
    "pull": "Make DEST what a name stands for.",
    "log": "List what a name stood for, and who published it.",
    "rollback": "Make a name stand again for what its record SEQ says.",
    "diff": "Show what was added, removed, changed and moved.",
    "follow": "Keep what a name stands for in the store, and print changes.",
    "git": "Publish git repositories, which others clone by forge://NAME.",
    "lfs": "Have Git LFS keep large files in Forge.",
    "shares": "List what this node shares.",
    "unshare": "End a share; its tickets stop working.",
    "sync": "Make DIR and a name the same, in both directions.",
    "cache": "Save and restore a CI's caches by key.",
    "edge": "Push to, pull from and look after a bucket.",
    "up": "Start the node.",
    "down": "Stop the node.",
    "status": "Show the node, its networks, peers, shares and store.",
    "doctor": "Say what does not work here, and what to do.",
    "peers": "Show the members of this node's networks: who, where, how fast.",
    "why": "Say who has a link's content, and how it came.",
    "network": "Create, join and manage private networks.",
    "store": "Inspect, verify, clean or rebuild the store.",
    "seed": "Run or restore a seed: node, gateway and bucket from one file.",
    "config": "Check a seed's file.",
    "completion": "Print the completion script for a shell.",
}


ELSEWHERE = {"config": "forge_edge.commands.config", "seed": "forge_edge.commands.seed"}
"""Commands that put a node together with what stands beside it, and so are not below it."""


class LazyGroup(click.Group):
    """Knows its commands by name; `package.NAME` holds `command`, loaded only to run or explain it. `known`: each
    command's name and one line; `unlisted`: those that are not for people."""

    known: Mapping[str, str] = COMMANDS
    unlisted: Collection[str] = ()
    package = "forge_p2p.cli.commands"

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.known)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if not self._has(cmd_name):
            return None
        command: click.Command = import_module(ELSEWHERE.get(cmd_name, f"{self.package}.{cmd_name}")).command
        return command

    def _has(self, name: str) -> bool:
        return name in self.known or name in self.unlisted

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self.known.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        names = (name for name in self.known if name.startswith(incomplete))
        commands = [CompletionItem(name, help=self.known[name]) for name in names]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not self._has(name) and not name.startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(name, self.known, n=1)
            guess = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"There is no command {name!r}.{guess}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, params=common_options(), context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="forge")
def forge() -> None:
    """Share directories between machines, straight from one to the other.

    \b
        here$  forge share ./assets
        there$ forge get TICKET ./assets

    Nothing has to be set up first: no account, no server, no init.
    """
