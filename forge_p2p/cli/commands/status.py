"""`forge status`: the node at a glance."""

from collections.abc import Iterator

import click

from forge_p2p.cli.output import emit, table
from forge_p2p.cli.run import run_operation
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.cli.tables import format_expiry, share_lines
from forge_p2p.cli.units import format_count, format_duration, format_size
from forge_p2p.node.network_results import NetworkStatus
from forge_p2p.node.results import StatusResult, StoreStatus


@click.command("status", cls=ForgeCommand)
@pass_settings
def command(settings: Settings) -> None:
    """Show the node, its networks, peers, shares and store."""
    result = run_operation(settings, StatusResult, "status", {})
    emit(settings, result, _lines(result))


def _lines(status: StatusResult) -> Iterator[str]:
    yield from table(list(_rows(status)))
    if status.networks:
        yield "networks"
        yield from table([["  " + first, *rest] for first, *rest in map(network_cells, status.networks)])
    if status.peers:
        yield "peers"
        yield from table(
            [
                [
                    f"  {peer.node_id}",
                    peer.address,
                    f"{peer.round_trip * 1000:.1f} ms",
                    _traffic(peer.sent, peer.received),
                ]
                for peer in status.peers
            ]
        )
    if status.shares:
        yield "shares"
        yield from (f"  {line}" for line in share_lines(status.shares))


def _rows(status: StatusResult) -> Iterator[list[str]]:
    yield ["version", status.version]
    yield ["home", status.home]
    yield ["node", status.node_id or "no identity yet"]
    up = f"up for {format_duration(status.uptime)}, process {status.pid}"
    yield ["state", up if status.running else "not running (forge up starts it)"]
    yield from (["address", address] for address in status.addresses)
    if status.lan_problem:
        yield ["LAN", f"{status.lan_problem} (forge doctor says what to do)"]
    yield ["store", store_line(status.store)]


def network_cells(each: NetworkStatus) -> list[str]:
    """A network as a row of a table."""
    if each.problem:
        return [each.name or "?", each.role, each.problem]
    members = f"{each.connected:,} of {format_count(each.known, 'member')} connected"
    dht = f"DHT: {format_count(each.dht_nodes, 'node')}, {format_count(each.announced, 'root')} announced"
    late = f", {each.behind:,} of them overdue" if each.behind else ""
    return [each.name, each.role, format_expiry(each.expires), members, dht + late]


def _traffic(sent: int, received: int) -> str:
    return f"{format_size(sent)} sent, {format_size(received)} received"


def store_line(store: StoreStatus) -> str:
    """The store in one line."""
    parts = [
        format_count(store.chunks, "chunk"),
        f"{format_size(store.raw_bytes)} in {format_size(store.disk_bytes)}",
        f"{format_size(store.free_bytes)} free",
    ]
    if store.quota:
        parts.append(f"quota {format_size(store.quota)}")
    if store.quarantined:
        parts.append(f"{format_count(store.quarantined, 'chunk')} in quarantine")
    return ", ".join(parts)
