"""Operations on private networks: create, invite, join, list, members, leave; `revoking` has one more. They need only
the disk; a node that is up notices what they write within a second."""

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forge_p2p.content.contact import Contact
from forge_p2p.content.invite import Token, format_token, parse_token
from forge_p2p.content.membership import (
    CHAIN_MAX,
    NotAMember,
    Role,
    issue_certificate,
    label_fits,
    membership_by,
    require_current,
    verify_chain,
)
from forge_p2p.content.sealing import SECRET_SIZE
from forge_p2p.errors import Refused, UsageError
from forge_p2p.ids import NetworkId
from forge_p2p.node.local import LocalNode, Report
from forge_p2p.node.membership.networks import Issued, Joined, Networks, joined_by
from forge_p2p.node.network_results import (
    InviteResult,
    MemberEntry,
    MembersResult,
    NetworkEntry,
    NetworksResult,
)
from forge_p2p.proto.revocations import RevocationSet

if TYPE_CHECKING:
    from forge_p2p.content.membership import Chain
    from forge_p2p.node.network import Network


def create(node: LocalNode, *, name: str, label: str = "", report: Report) -> NetworksResult:  # noqa: ARG001
    """Makes a network of which this node is an admin and holds the key."""
    networks = _networks(node)
    if any(each.name == name for each in networks.all()):
        raise UsageError(f"this node is in a network called {name!r} already", hint="forge network list shows it")
    seed = os.urandom(32)
    key = Ed25519PrivateKey.from_private_bytes(seed)
    network = NetworkId(key.public_key().public_bytes_raw())
    own = issue_certificate(key, network, node.node_id, Role.ADMIN, issued=int(time.time()), label=_label(label))
    joined = Joined(network, name, (own,), (), networks.folder(network), os.urandom(SECRET_SIZE), seed)
    networks.add(joined)
    return NetworksResult([_entry(joined)])


def invite(
    node: LocalNode,
    *,
    role: str = "reader",
    expires: float = 0.0,
    label: str = "",
    in_network: str = "",
    report: Report,  # noqa: ARG001
    contacts: tuple[Contact, ...] = (),
) -> InviteResult:
    """A token for others to join by. `expires`: seconds until it, and whoever joined by it, is good no more; 0: until
    it is revoked. Raises `UsageError`, or `Refused` to who is no admin."""
    networks = _networks(node)
    joined = networks.named(in_network)
    key, chain = issuer(node, networks, joined, "invite")
    if len(chain) + 2 > CHAIN_MAX:
        raise Refused(
            f"this node was made an admin of network {joined.name!r} by an admin, and chains of certificates end there",
            hint="ask that admin, or who made the network, to invite",
        )
    given = _role(role)
    now = time.time()
    until = int(now + expires) if expires else 0
    own = joined.membership.expires
    if own and not key_is_networks(joined):
        until = min(until, own) if until else own
    seed = os.urandom(32)
    subject = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    certificate = issue_certificate(
        key, joined.network, subject, given, issued=int(now), expires=until, delegable=True, label=_label(label)
    )
    token = Token(joined.network, joined.name, (*chain, certificate), contacts, joined.secret, seed)
    issued = Issued(subject.hex(), given.name.lower(), label, now, float(until))
    networks.keep_issued(joined.network, issued)
    return InviteResult(format_token(token), issued.id, joined.name, issued.role, issued.expires)


async def running_invite(network: "Network", *, report: Report, **options: object) -> InviteResult:
    """As `invite`; the token says where this node is, so that who joins by it finds the network anywhere."""
    import trio

    places = tuple((address.host, address.port) for address in network.reachable_addresses()[:8])
    contacts = (Contact(network.node.node_id, places),)
    return await trio.to_thread.run_sync(
        lambda: invite(network.node, report=report, contacts=contacts, **options)  # type: ignore[arg-type]
    )


def join(
    node: LocalNode,
    *,
    token: str,
    label: str = "",
    name: str = "",
    report: Report,  # noqa: ARG001
) -> NetworksResult:
    """Makes this node a member by a token, or a member again; nobody is asked. `name`: what to call the network here.
    Raises `UsageError`, or `NotAMember` for a token that is not good."""
    networks = _networks(node)
    parsed = parse_token(token)
    known = next((each for each in networks.all() if each.network == parsed.network and each.folder is not None), None)
    if known is not None and known.seed:
        raise UsageError(f"this node made the network {known.name!r} and is in it already")
    joined = joined_by(parsed, node.node_id, networks.folder(parsed.network), _label(label))
    require_current(joined.chain, time.time(), networks.revocation_set(parsed.network))
    joined = replace(joined, name=name or (known or joined).name)
    networks.add(joined)
    return NetworksResult([_entry(joined)])


def listed(node: LocalNode, *, report: Report) -> NetworksResult:  # noqa: ARG001
    """The networks that this node is in."""
    return NetworksResult([_entry(each) for each in _networks(node).all()])


def members(node: LocalNode, *, in_network: str = "", report: Report) -> MembersResult:  # noqa: ARG001
    """Who is known to be in a network, and the tokens issued here."""
    networks = _networks(node)
    return known_members(node, networks, networks.named(in_network))


def known_members(node: LocalNode, networks: Networks, joined: Joined) -> MembersResult:
    """As `members`, of the network given."""
    revoked = networks.revocation_set(joined.network)
    chains = {node.node_id: (joined.chain, time.time())}
    for chain, seen in networks.roster(joined.network):
        chains.setdefault(membership_by(chain).node_id, (chain, seen))
    found = [_member(chain, seen, revoked) for chain, seen in chains.values()]
    tokens = [
        MemberEntry(each.id, "token", each.role, each.label, each.expires, 0.0, bytes.fromhex(each.id) in revoked)
        for each in networks.issued(joined.network)
    ]
    return MembersResult(joined.name, sorted(found, key=lambda each: (each.revoked, -each.seen)), tokens)


def leave(node: LocalNode, *, name: str, destroy_key: bool = False, report: Report) -> NetworksResult:  # noqa: ARG001
    """Is in a network no more, and forgets its secret. Raises `UsageError` where that would destroy the network's own
    key, unless `destroy_key`."""
    networks = _networks(node)
    joined = networks.named(name)
    if joined.seed and not destroy_key:
        raise UsageError(
            f"this node holds the key of network {joined.name!r}; leaving destroys it, and nobody could undo what an "
            "admin does any more",
            hint="keep a backup of the node's folder, then leave with --destroy-key",
        )
    from forge_p2p.node.refs.retention import forget_names

    networks.remove(joined)
    forget_names(node, joined.network)
    return NetworksResult([_entry(joined)])


def key_is_networks(joined: Joined) -> bool:
    """Whether this node holds the network's own key."""
    return bool(joined.seed)


def _networks(node: LocalNode) -> Networks:
    return Networks(node.home, node.node_id, node.config.token)


def issuer(node: LocalNode, networks: Networks, joined: Joined, what: str) -> "tuple[Ed25519PrivateKey, Chain]":
    """The key that signs for a network here, and its chain: the network's own, or this node's as an admin. Raises
    `Refused` where there is none, or what it signed would count nowhere."""
    key = joined.key
    if key is not None:
        return key, ()
    if not joined.chain[-1].may_invite:
        role = joined.membership.role.name.lower()
        raise Refused(
            f"this node is a {role} in network {joined.name!r}, and only an admin may {what}",
            hint="ask an admin of the network to do it",
        )
    try:
        verify_chain(joined.chain, joined.network, node.node_id, time.time(), networks.revocation_set(joined.network))
    except NotAMember as error:
        raise Refused(
            f"this node is no admin of network {joined.name!r} any more: {error.message}", hint=error.hint
        ) from error
    return node.key, joined.chain


def _role(text: str) -> Role:
    try:
        return Role[text.upper()]
    except KeyError:
        names = ", ".join(role.name.lower() for role in Role)
        raise UsageError(f"{text!r} is no role", hint=f"one of {names}") from None


def _label(text: str) -> str:
    if not label_fits(text):
        raise UsageError("a label has at most 64 printable characters")
    return text


def _entry(joined: Joined) -> NetworkEntry:
    membership = joined.membership
    return NetworkEntry(
        joined.name, joined.network.hex(), membership.role.name.lower(), float(membership.expires), bool(joined.seed)
    )


def _member(chain: "Chain", seen: float, revoked: RevocationSet) -> MemberEntry:
    member = membership_by(chain)
    over = any(key in revoked for key in member.keys)
    role = member.role.name.lower()
    token = member.token.hex() if member.token else ""
    return MemberEntry(member.subject.hex(), "node", role, member.label, float(member.expires), seen, over, token)
