"""`forge network`: private networks."""

import sys
import time

import click

from forge_p2p.cli.output import emit, remark, table
from forge_p2p.cli.run import run_operation
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.cli.tables import format_expiry
from forge_p2p.cli.units import format_duration, parse_duration
from forge_p2p.errors import UsageError
from forge_p2p.node.network_results import (
    InviteResult,
    MemberEntry,
    MembersResult,
    NetworkEntry,
    NetworksResult,
    RevokeResult,
)

TOKEN_CHARS = 8192
STDIN = "-"
IN_NETWORK = click.option(
    "--network", "in_network", default="", metavar="NAME", help="Which one, if the node is in several."
)
LABEL = click.option("--label", default="", metavar="TEXT", help="A name for people, shown by forge network members.")


@click.group("network")
def command() -> None:
    """Create, join and manage private networks."""


@command.command("create", cls=ForgeCommand)
@click.argument("name")
@LABEL
@pass_settings
def create(settings: Settings, name: str, label: str) -> None:
    """Make a network and be its first admin.

    The network's key stays in this node's folder: keep a backup. Others join with tokens (forge network invite).
    """
    result = run_operation(settings, NetworksResult, "network_create", {"name": name, "label": label})
    remark(settings, f"network {name} made; forge network invite prints a token for others to join by")
    emit(settings, result, [each.id for each in result.networks])


@command.command("invite", cls=ForgeCommand)
@click.option(
    "--role",
    default="reader",
    show_default=True,
    type=click.Choice(["reader", "writer", "seed", "admin"]),
    help="What who joins may do.",
)
@click.option("--expires", default="", metavar="TIME", help='How long it and who joins by it are good, like "1d".')
@LABEL
@IN_NETWORK
@pass_settings
def invite(settings: Settings, role: str, expires: str, label: str, in_network: str) -> None:
    """Print a token by which others join.

    Whoever has the token is a member, until it expires or is revoked: pass it on as you would a password. In CI, set
    FORGE_TOKEN to it: the agent is then a member for as long as the command runs. The token is the last line of the
    output.
    """
    arguments = {
        "role": role,
        "expires": parse_duration(expires) if expires else 0.0,
        "label": label,
        "in_network": in_network,
    }
    result = run_operation(settings, InviteResult, "network_invite", arguments)
    remark(
        settings,
        f"token {result.id[:16]} for a {result.role} of network {result.network}, {format_expiry(result.expires)}",
        "on the other machine: forge network join - (and paste it there)",
    )
    emit(settings, result, [result.token])


@command.command("join", cls=ForgeCommand)
@click.argument("token", metavar="TOKEN|-")
@LABEL
@click.option("--as", "name", default="", metavar="NAME", help="What to call the network here.")
@pass_settings
def join(settings: Settings, token: str, label: str, name: str) -> None:
    """Be a member of a network by a token.

    "-" reads it from standard input, where other users of the machine cannot see it: better than an argument. Joining
    again with a new token renews a membership.
    """
    text = token
    if token == STDIN:
        text = sys.stdin.read(TOKEN_CHARS).strip()
    if not text:
        raise UsageError("there is no token on standard input", hint="paste it and end with Ctrl-D")
    result = run_operation(settings, NetworksResult, "network_join", {"token": text, "label": label, "name": name})
    emit(settings, result, [f"joined {line}" for line in _networks(result)])


@command.command("list", cls=ForgeCommand)
@pass_settings
def list_all(settings: Settings) -> None:
    """List the networks that this node is in."""
    result = run_operation(settings, NetworksResult, "network_list", {})
    emit(settings, result, _networks(result))


@command.command("members", cls=ForgeCommand)
@IN_NETWORK
@pass_settings
def members(settings: Settings, in_network: str) -> None:
    """List the members of a network that are known here, and the tokens issued here."""
    result = run_operation(settings, MembersResult, "network_members", {"in_network": in_network})
    emit(settings, result, table([_member(each) for each in [*result.members, *result.tokens]]))


@command.command("revoke", cls=ForgeCommand)
@click.argument("who", metavar="MEMBER|TOKEN")
@click.option("--keep-token", is_flag=True, help="Leave the token that the member came by as it is.")
@IN_NETWORK
@pass_settings
def revoke(settings: Settings, who: str, keep_token: bool, in_network: str) -> None:
    """End a membership, or a token and all memberships that came by it.

    WHO is a label, the beginning of an id, or the token itself. With a member its token ends, for with that it could
    join again; if others came by the same token you have to say what is meant. Open sessions end as soon as a node
    hears of it; it spreads among the members by itself.
    """
    arguments = {"who": who, "in_network": in_network, "keep_token": keep_token}
    result = run_operation(settings, RevokeResult, "network_revoke", arguments)
    if result.token:
        remark(settings, f"with it the token that it came by, {result.token[:16]}")
    if result.left:
        remark(settings, f"note: with its token, {result.left[:16]}, it can join again until that is revoked, too")
    if result.restored:
        names = ", ".join(each[:16] for each in result.restored)
        remark(settings, f"note: what this admin had revoked is good again; revoke it anew to end it: {names}")
    emit(settings, result, [f"revoked {result.kind} {result.id[:16]} {result.label}".rstrip()])


@command.command("leave", cls=ForgeCommand)
@click.argument("name")
@click.option("--destroy-key", is_flag=True, help="Leave even if this node holds the network's own key.")
@pass_settings
def leave(settings: Settings, name: str, destroy_key: bool) -> None:
    """Be in a network no more.

    Its secret is forgotten, and on the node that made it the network's key, which only a backup can bring back.
    """
    result = run_operation(settings, NetworksResult, "network_leave", {"name": name, "destroy_key": destroy_key})
    emit(settings, result, [f"left {line}" for line in _networks(result)])


def _networks(result: NetworksResult) -> list[str]:
    return table([_network(each) for each in result.networks])


def _network(each: NetworkEntry) -> list[str]:
    return [each.name, each.id[:16], each.role, format_expiry(each.expires) + (", holds its key" if each.key else "")]


def _member(each: MemberEntry) -> list[str]:
    seen = f"seen {format_duration(max(0.0, time.time() - each.seen))} ago" if each.seen else ""
    state = "revoked" if each.revoked else format_expiry(each.expires)
    return [each.kind, each.id[:16], each.role, each.label, state, seen]
