"""The table of operations: what a command can ask for, in its own process or of the node that is up.

An operation is a function of a node, a `report` for progress, and plain arguments; it returns one struct of `results`.
Local operations block and need only the disk; network operations are async and get the node's `Network` as well. The
table names modules instead of importing them, so that a command pays only for what it runs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from forge_p2p.errors import UsageError


@dataclass(frozen=True, slots=True)
class Operation:
    """Where an operation is, and whether it needs the network. `emits`: it also takes `on_bytes` for content."""

    module: str
    function: str
    network: bool = False
    emits: bool = False

    def load(self) -> Callable[..., Any]:
        """The function itself."""
        return getattr(import_module(f"forge_p2p.node.{self.module}"), self.function)  # type: ignore[no-any-return]


OPERATIONS = {
    "add": Operation("adding", "add"),
    "share": Operation("sharing", "share", network=True),
    "shares": Operation("sharing", "shares"),
    "unshare": Operation("sharing", "unshare"),
    "get": Operation("getting", "get", network=True),
    "ls": Operation("looking", "ls", network=True),
    "cat": Operation("looking", "cat", network=True, emits=True),
    "status": Operation("upkeep", "status"),
    "store_stat": Operation("upkeep", "store_stat"),
    "store_verify": Operation("upkeep", "store_verify"),
    "store_gc": Operation("upkeep", "store_gc"),
    "store_rebuild": Operation("upkeep", "store_rebuild"),
}


def operation(name: str) -> Operation:
    """Raises `UsageError` for a name that is not in the table (a command of another version)."""
    try:
        return OPERATIONS[name]
    except KeyError:
        raise UsageError(f"unknown operation {name!r}", hint="is the node of another version? restart it") from None
