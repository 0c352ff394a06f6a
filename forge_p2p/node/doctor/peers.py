"""Whether the static peers can be reached: a handshake with each, which nobody without its key can answer."""

from typing import Final

from forge_p2p.content.contact import Contact
from forge_p2p.errors import PeerError
from forge_p2p.net.base import Address, Endpoint
from forge_p2p.node.addresses import parse_peer
from forge_p2p.node.doctor.findings import fail, ok, warn
from forge_p2p.node.local import LocalNode
from forge_p2p.node.results import Finding

TIMEOUT: Final = 3.0


def check_peers(node: LocalNode) -> Finding:
    """Dials every static peer at once. Raises `UsageError` for one that is none."""
    contacts = [parse_peer(text) for text in node.config.net.peers]
    if not contacts:
        return ok("static peers", "none are configured (net.peers)")
    problems = _dial_all(node, contacts)
    unreached = [f"{_place(contact)}: {problem}" for contact, problem in problems.items() if problem]
    if not unreached:
        return ok("static peers", f"all {len(contacts)} answer")
    text = f"{len(contacts) - len(unreached)} of {len(contacts)} answer; {'; '.join(unreached)}"
    hint = "is the node there up (forge status), and does a firewall drop UDP on the way, here or there?"
    if any("not the node" in problem for problem in problems.values()):
        return fail("static peers", text, "correct the id in net.peers: forge status on that machine shows it")
    return warn("static peers", text, hint)


def _place(contact: Contact) -> str:
    host, port = contact.addresses[0]
    return f"{host} port {port}"


def _dial_all(node: LocalNode, contacts: list[Contact]) -> dict[Contact, str]:
    """For each contact what went wrong; empty when it answered."""
    import trio
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from forge_p2p.net.quic import open_endpoint

    passing = Ed25519PrivateKey.generate()  # a client shows its own key in the session only, and there is none here
    problems = dict.fromkeys(contacts, f"no answer within {TIMEOUT:.0f} seconds")

    async def dial(endpoint: Endpoint, contact: Contact) -> None:
        try:
            connection = await endpoint.dial(Address(*contact.addresses[0]), contact.node_id)
            await connection.aclose()
        except PeerError as error:
            problems[contact] = error.message
        else:
            problems[contact] = ""

    async def main() -> None:
        async with open_endpoint(Address("::", 0), passing, node.config.net) as endpoint:
            with trio.move_on_after(TIMEOUT):
                async with trio.open_nursery() as nursery:
                    for contact in contacts:
                        nursery.start_soon(dial, endpoint, contact)

    trio.run(main)
    return problems
