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
    """Where an operation is, and whether it needs the network.

    `first`: a local function to try before a network one; it returns `None` when the network is needed after all.
    `emits`: the operation also takes an async `emit` for content. `beforehand`: module and function that a process of
    its own calls before it becomes a node: raises what the operation would, as far as the node's folder tells.
    """

    module: str
    function: str
    network: bool = False
    emits: bool = False
    first: str = ""
    beforehand: tuple[str, str] | None = None

    def load(self) -> Callable[..., Any]:
        """The function itself."""
        return _load(self.module, self.function)

    def load_first(self) -> Callable[..., Any]:
        """The local function to try first."""
        return _load(self.module, self.first)

    def load_beforehand(self) -> Callable[..., None] | None:
        """What is called before, if anything is."""
        return _load(*self.beforehand) if self.beforehand else None


def _load(module: str, name: str) -> Callable[..., Any]:
    return getattr(import_module(f"forge_p2p.node.{module}"), name)  # type: ignore[no-any-return]


OPERATIONS = {
    "add": Operation("operations.adding", "add"),
    "share": Operation("operations.sharing", "share", network=True),
    "shares": Operation("operations.sharing", "shares"),
    "unshare": Operation("operations.sharing", "unshare"),
    "get": Operation("operations.getting", "get", network=True, first="already_there"),
    "ls": Operation("operations.looking", "ls", network=True, first="ls_here"),
    "cat": Operation("operations.looking", "cat", network=True, emits=True),
    "relay": Operation("operations.relaying", "relay", network=True, emits=True),
    "resolve": Operation("operations.relaying", "resolve", network=True),
    "offer": Operation("operations.relaying", "offer", network=True),
    "publish": Operation("refs.publishing", "publish", network=True),
    "pull": Operation("refs.pulling", "pull", network=True),
    "log": Operation("refs.history", "log", network=True),
    "names": Operation("refs.history", "names", network=True),
    "rollback": Operation("refs.history", "rollback", network=True),
    "diff": Operation("refs.diffing", "diff", network=True),
    "follow": Operation("refs.following", "follow", network=True, emits=True),
    "follow_stop": Operation("refs.following", "stop"),
    "follow_list": Operation("refs.following", "listed"),
    "sync": Operation("syncing.rounds", "sync", network=True, emits=True),
    "cache_save": Operation("operations.caching", "save", network=True),
    "cache_restore": Operation("operations.caching", "restore", network=True),
    "git_read": Operation(
        "repositories.reading",
        "read",
        network=True,
        emits=True,
        beforehand=("repositories.belonging", "require_network"),
    ),
    "git_files": Operation("repositories.fetching", "files", network=True),
    "git_put": Operation("repositories.putting", "put", network=True),
    "git_share": Operation("repositories.sharing", "share", network=True),
    "git_list": Operation("repositories.sharing", "listed", network=True),
    "git_standby": Operation("repositories.standby", "start"),
    "edge_set": Operation("edge.managing", "set_bucket"),
    "edge_status": Operation("edge.managing", "status"),
    "edge_gc": Operation("edge.collecting", "gc"),
    "edge_check": Operation("edge.checking", "check"),
    "edge_push": Operation("edge.pushing", "push", network=True),
    "edge_drop": Operation("edge.pushing", "drop", network=True),
    "edge_pull": Operation("edge.pulling", "pull", network=True),
    "edge_restore": Operation("edge.recovering", "restore", network=True),
    "network_create": Operation("operations.networking", "create"),
    "network_invite": Operation("operations.networking", "invite"),
    "network_join": Operation("operations.networking", "join"),
    "network_list": Operation("operations.networking", "listed"),
    "network_members": Operation("operations.networking", "members"),
    "network_revoke": Operation("operations.revoking", "revoke"),
    "network_leave": Operation("operations.networking", "leave"),
    "peers": Operation("operations.explaining", "peers"),
    "why": Operation("operations.explaining", "why", network=True),
    "status": Operation("operations.upkeep", "status"),
    "doctor": Operation("doctor", "doctor"),
    "store_stat": Operation("operations.upkeep", "store_stat"),
    "store_verify": Operation("operations.upkeep", "store_verify", network=True),
    "store_gc": Operation("operations.upkeep", "store_gc"),
    "store_rebuild": Operation("operations.upkeep", "store_rebuild"),
}

RUNNING = {
    "status": Operation("operations.upkeep", "running_status", network=True),
    "shares": Operation("operations.sharing", "running_shares", network=True),
    "peers": Operation("operations.explaining", "running_peers", network=True),
    "network_invite": Operation("operations.networking", "running_invite", network=True),
    "follow_stop": Operation("refs.following", "running_stop", network=True),
}
"""What a running node does in another way."""


def operation(name: str, *, running: bool = False) -> Operation:
    """The operation called `name`, as a running node does it or without one. Raises `UsageError` for a name that is
    not in the table: a command of another version."""
    try:
        return RUNNING[name] if running and name in RUNNING else OPERATIONS[name]
    except KeyError:
        raise UsageError(f"unknown operation {name!r}", hint="is the node of another version? restart it") from None
