"""The operation `forge network revoke`: who is meant, what goes with it, and what to say of it.

A member that is revoked by its own key alone joins again under another one, as long as it has its token. So its token
goes with it, unless others joined by that too: then a person has to choose.
"""

import time
from collections.abc import Sequence

from forge_p2p.content.invite import is_token, parse_token
from forge_p2p.content.revocation import revoke as sign_revocation
from forge_p2p.errors import Refused, UsageError
from forge_p2p.node.local import LocalNode, Report
from forge_p2p.node.membership.networks import Networks
from forge_p2p.node.network_results import MemberEntry, MembersResult, RevokeResult
from forge_p2p.node.operations.networking import issuer, known_members

ID_CHARS = 64
PREFIX_CHARS = 4
"""Of an id; fewer name nobody."""


def revoke(
    node: LocalNode,
    *,
    who: str,
    in_network: str = "",
    keep_token: bool = False,
    report: Report,  # noqa: ARG001
) -> RevokeResult:
    """Ends a member, or a token and all who joined by it. `who`: the beginning of an id, a label, or a token itself.
    With a member its token is revoked, unless `keep_token`. Raises `UsageError`, or `Refused` to who is no admin."""
    networks = Networks(node.home, node.node_id, node.config.token)
    joined = networks.named(in_network)
    if joined.folder is None:
        raise UsageError(
            f"network {joined.name!r} was joined by FORGE_TOKEN, so nothing of it can be written down here",
            hint="revoke on a node that has joined it by forge network join",
        )
    key, chain = issuer(node, networks, joined, "revoke")
    everybody = known_members(node, networks, joined)
    entry = _meant(who, [*everybody.members, *everybody.tokens])
    token = _token_of(entry, everybody)
    targets = [entry.id] if keep_token or not token else [entry.id, token]
    _spare_bystanders(entry, targets, everybody, {certificate.subject.hex() for certificate in joined.chain})
    now = int(time.time())
    fresh = [sign_revocation(key, joined.network, bytes.fromhex(target), time=now, chain=chain) for target in targets]
    before = networks.revocation_set(joined.network)
    after = networks.keep_revocations(joined.network, fresh)
    if not all(after.knows(revocation) for revocation in fresh):
        raise Refused(
            f"network {joined.name!r} takes no more revocations from this node", hint="ask who made the network"
        )
    return RevokeResult(
        joined.name,
        entry.id,
        entry.kind,
        entry.label,
        token=token if len(targets) > 1 else "",
        left=token if len(targets) == 1 else "",
        restored=sorted({each.key.hex() for each in before if each.key not in after}),
    )


def _token_of(entry: MemberEntry, everybody: MembersResult) -> str:
    """The id of the token that lets a member in again, if there is one and it is still good."""
    if not entry.token or 0 < entry.expires <= time.time():
        return ""
    over = {token.id for token in everybody.tokens if token.revoked}
    return "" if entry.token in over else entry.token


def _spare_bystanders(entry: MemberEntry, targets: Sequence[str], everybody: MembersResult, own: set[str]) -> None:
    """Raises `UsageError` when more would end than was said."""
    if own.intersection(targets):
        way_out = "--keep-token leaves the token alone" if own.isdisjoint(targets[:1]) else "forge network leave"
        raise UsageError("that would end this node's own membership", hint=way_out)
    others = [
        each
        for each in everybody.members
        if each.token and each.token in targets[1:] and each.id != entry.id and not each.revoked
    ]
    if others:
        names = ", ".join(each.label or each.id[:16] for each in others[:5])
        raise UsageError(
            f"{entry.label or entry.id[:16]} joined by token {entry.token[:16]}, as did {len(others)} more: {names}",
            hint=f"forge network revoke {entry.token[:16]} ends them all; --keep-token ends this one, which can join "
            "again as long as the token is good",
        )


def _meant(who: str, everybody: Sequence[MemberEntry]) -> MemberEntry:
    """A whole id comes first, for labels are what their bearers choose."""
    if is_token(who):
        who = parse_token(who).id.hex()
    text = who.lower()
    exact = [each for each in everybody if each.id == text]
    begins = len(who) >= PREFIX_CHARS
    found = exact or [each for each in everybody if each.label == who or (begins and each.id.startswith(text))]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{who!r} means {len(found)} members or tokens", hint="say more of the id")
    if len(who) == ID_CHARS and not set(text) - set("0123456789abcdef"):
        return MemberEntry(text, "key", "", "", 0.0, 0.0, revoked=False)
    raise UsageError(f"nobody in the network is called {who[:16]!r}", hint="forge network members lists them")
