"""A ticket that does not do: one clear line, the right exit code, and nothing at the destination."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from forge_p2p.content.ticket import format_ticket, issue, parse_ticket
from forge_p2p.errors import Refused
from forge_p2p.net.base import Address
from forge_p2p.node.local import ignore_progress
from forge_p2p.node.operations.sharing import unshare
from tests.cli.harness import forge
from tests.node.conftest import Pair
from tests.node.harness import Node, get, node, refused, settings, share, small_tree


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that is up in a process of its own."""
    with node(tmp_path_factory.mktemp("up") / "home", "up", lines=2) as started:
        yield started


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_tree(tmp_path_factory.mktemp("source") / "tree")


@pytest.fixture(scope="module")
def ticket(up: Node, source: Path) -> str:
    return forge(up.home, "share", str(source)).stdout.strip()


def try_to_get(tmp_path: Path, what: str, code: int) -> str:
    """The message of a `forge get` that has to fail, and to leave nothing behind."""
    home = settings(tmp_path / "there")
    (tmp_path / "files").mkdir()
    said = refused(forge(home, "get", what, str(tmp_path / "files" / "copy")), code)
    assert list((tmp_path / "files").iterdir()) == []
    return said


def test_truncated(tmp_path: Path, ticket: str) -> None:
    assert "forge: error: this ticket" in try_to_get(tmp_path, ticket[:-20], 2)


def test_mistyped(tmp_path: Path, ticket: str) -> None:
    middle = len(ticket) // 2
    other = "q" if ticket[middle] != "q" else "p"
    said = try_to_get(tmp_path, ticket[:middle] + other + ticket[middle + 1 :], 2)
    assert "forge: error: this ticket" in said


@pytest.mark.parametrize("what", ["nonsense", "", "fticket1", "https://example.com/x", "ftree1abc"])
def test_no_ticket_at_all(tmp_path: Path, what: str) -> None:
    try_to_get(tmp_path, what, 2)


def test_tampered(tmp_path: Path, ticket: str) -> None:
    parsed = parse_ticket(ticket)
    longer = replace(parsed, capability=replace(parsed.capability, expires=2_000_000_000))
    assert "was tampered with" in try_to_get(tmp_path, format_ticket(longer), 11)


def test_expired_before(tmp_path: Path, up: Node, source: Path) -> None:
    ticket = forge(up.home, "share", str(source), "--expires", "1s").stdout.strip()
    time.sleep(2.1)
    assert "this ticket expired" in try_to_get(tmp_path, ticket, 11)
    assert ticket not in forge(up.home, "shares").stdout


def test_revoked(tmp_path: Path, up: Node, source: Path) -> None:
    ticket = forge(up.home, "share", str(source)).stdout.strip()
    assert forge(up.home, "unshare", ticket).returncode == 0
    assert "refused: this ticket was revoked" in try_to_get(tmp_path, ticket, 11)


def test_another_node_at_its_address(tmp_path: Path, up: Node, ticket: str) -> None:
    """The ticket of one node with the address of another: the key in the ticket is not the one that answers."""
    with node(tmp_path / "stranger", "up", lines=2) as stranger:
        foreign = forge(stranger.home, "share", str(small_tree(tmp_path / "other"))).stdout.strip()
    forged = replace(parse_ticket(foreign), addresses=parse_ticket(ticket).addresses)
    said = try_to_get(tmp_path, format_ticket(forged), 10)
    assert "is not the node that was asked for" in said


def test_signed_by_somebody_else(tmp_path: Path, ticket: str) -> None:
    """A ticket to this node that another key has signed."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    parsed = parse_ticket(ticket)
    signed = issue(Ed25519PrivateKey.generate(), parsed.root, list(parsed.addresses))
    forged = replace(parsed, capability=replace(signed.capability, issuer=parsed.capability.issuer))
    assert "was tampered with" in try_to_get(tmp_path, format_ticket(forged), 11)


def test_nobody_there(tmp_path: Path, ticket: str) -> None:
    parsed = parse_ticket(ticket)
    away = replace(parsed, addresses=(("127.0.0.1", 9),))
    said = try_to_get(tmp_path, format_ticket(away), 10)
    assert "no answer from 127.0.0.1 port 9" in said
    assert "firewall" in said


def test_bare_link(tmp_path: Path, up: Node, source: Path) -> None:
    link = forge(up.home, "add", str(source)).stdout.strip()
    said = try_to_get(tmp_path, link, 4)
    assert "in no network that could be asked" in said


async def test_a_refused_client_is_told_by_the_server(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that does not look at its ticket gets the same answer from the node."""
    monkeypatch.setattr("forge_p2p.node.fetch.fetching.require_ticket", lambda target, now: target.ticket)
    shared = await share(pair.here, small_tree(pair.path / "source"), expires=1.0)
    parsed = parse_ticket(shared.ticket)
    tampered = replace(parsed, capability=replace(parsed.capability, expires=0))
    with pytest.raises(Refused, match="refused: this ticket was tampered with"):
        await get(pair.there, format_ticket(tampered), pair.path / "copy")
    await trio.sleep(2.1)
    with pytest.raises(Refused, match="refused: this ticket expired"):
        await get(pair.there, shared.ticket, pair.path / "copy")
    assert not (pair.path / "copy").exists()


@pytest.mark.parametrize("how", ["revoked", "expired"])
async def test_a_session_ends_with_its_ticket(pair: Pair, how: str) -> None:
    """Being connected already does not help."""
    shared = await share(pair.here, small_tree(pair.path / "source"), expires=5.0 if how == "expired" else 0.0)
    ticket = parse_ticket(shared.ticket)
    addresses = [Address(host, port) for host, port in ticket.addresses]
    session = await pair.there.dial(addresses, ticket.server, ticket.capability.encode())
    await session.ready.wait()
    if how == "revoked":
        unshare(pair.here.node, what=shared.link, report=ignore_progress)
    with trio.fail_after(20):
        await session.ended.wait()
    assert isinstance(session.reason, Refused)
    assert how in str(session.reason)
