"""Who this node is in its networks, and who others are: credentials shown and checked, revocations heard and passed on.

One state machine a network (`proto.membership`) decides; this drives it. Chains are checked when a session begins, when
somebody is revoked, and when they run out.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from forge_p2p.content.membership import (
    Chain,
    Flaw,
    Membership,
    NotAMember,
    decode_chain,
    encode_chain,
    require_current,
)
from forge_p2p.content.sealing import Direction, seal, unseal
from forge_p2p.errors import ForgeError, Malformed, PeerError, Refused
from forge_p2p.ids import NetworkId, NodeId
from forge_p2p.node.membership.networks import Joined, Networks
from forge_p2p.node.sessions.refusals import RefusalLog
from forge_p2p.node.sessions.rights import STRANGER
from forge_p2p.proto.auth import Refusal
from forge_p2p.proto.membership import HeadHeard, MembershipOver, NetworkMembers, PeerLied, TellNews
from forge_p2p.proto.revocations import RevocationSet
from forge_p2p.wire.codes import Code

if TYPE_CHECKING:
    from forge_p2p.node.sessions.peer import PeerSession

LOG = logging.getLogger("forge")

_CODES: dict[Flaw | None, Code] = {Flaw.EXPIRED: Code.EXPIRED, Flaw.REVOKED: Code.REVOKED}


@dataclass(frozen=True, slots=True)
class Admitted:
    """A client that has shown that it is a member; `reply` is what this node shows in return."""

    network: NetworkId
    membership: Membership
    chain: Chain
    reply: bytes


@dataclass(slots=True)
class _Circle:
    joined: Joined
    state: "NetworkMembers[PeerSession]"


class Memberships:
    """Call it in the node's own thread; `read` and what it returns are for a worker thread."""

    def __init__(self, networks: Networks, node_id: NodeId, nursery: trio.Nursery) -> None:
        self._networks = networks
        self._node_id = node_id
        self._nursery = nursery
        self._circles: dict[NetworkId, _Circle] = {}
        self._refused = RefusalLog()
        self.dirty = False
        """Somebody was heard of since `save`."""
        self.heard_head: Callable[[PeerSession, bytes], None] = lambda session, record: None
        """Told of heads of names that members say."""

    def joined(self) -> list[Joined]:
        """The networks entered."""
        return [circle.joined for circle in self._circles.values()]

    def get(self, network: NetworkId) -> Joined | None:
        circle = self._circles.get(network)
        return circle.joined if circle else None

    def read(self) -> Callable[[], tuple[list[Joined], list[NetworkId]]]:
        """Reads what is on disk; call what it returns in the node's thread: it takes that over, and says which
        networks are new and which were left."""
        found = {each.network: each for each in self._networks.all()}
        revocations = {network: self._networks.revocations(network) for network in found}
        roster = {network: self._networks.roster(network) for network in found if network not in self._circles}

        def take_over() -> tuple[list[Joined], list[NetworkId]]:
            now = time.time()
            left = [network for network in self._circles if network not in found]
            for network in left:
                del self._circles[network]
            entered = [joined for network, joined in found.items() if network not in self._circles]
            for joined in entered:
                self._circles[joined.network] = _Circle(joined, NetworkMembers(joined.network))
                self._circles[joined.network].state.restore(roster.get(joined.network, []), now)
            for network, joined in found.items():
                circle = self._circles[network]
                circle.joined = joined
                for revocation in revocations[network]:
                    with suppress(NotAMember):  # nobody's word: a record written by hand
                        circle.state.add_revocation(revocation, now)
                self._carry_out(circle)
            return entered, left

        return take_over

    # Credentials

    def credentials(self, network: NetworkId, server_id: NodeId) -> bytes:
        """What this node shows to a server of a network. Raises `Refused` when it is no member any more."""
        circle = self._circle(network)
        self._check_own(circle)
        joined = circle.joined
        return seal(joined.secret, server_id, self._node_id, Direction.CLIENT, encode_chain(joined.chain))

    def check_server(self, network: NetworkId, server_id: NodeId, sealed: bytes) -> tuple[Membership, Chain]:
        """Who a server is by what it has shown. Raises `Refused` or `NotAMember`."""
        circle = self._circle(network)
        shown = unseal(circle.joined.secret, server_id, self._node_id, Direction.SERVER, sealed)
        if shown is None:
            raise Refused("the node has not shown that it is in the network")
        return self._verify(circle, shown, server_id)

    def _circle(self, network: NetworkId) -> _Circle:
        circle = self._circles.get(network)
        if circle is None:
            raise Refused("this node has left the network")
        return circle

    def check_client(self, client_id: NodeId, sealed: bytes) -> Admitted | Refusal:
        """Who a client is, or why it is nobody here. The reason goes to the log; only who knows the network's secret
        is told more than that it is a stranger."""
        for network, circle in self._circles.items():
            shown = unseal(circle.joined.secret, self._node_id, client_id, Direction.CLIENT, sealed)
            if shown is None:
                continue
            try:
                self._check_own(circle)
                membership, chain = self._verify(circle, shown, client_id)
            except Refused as error:
                self._refused.note(client_id, f"in network {circle.joined.name}: {error.message}")
                flaw = error.flaw if isinstance(error, NotAMember) else None
                return Refusal(_CODES.get(flaw, Code.DENIED), error.message)
            own = circle.joined
            reply = seal(own.secret, self._node_id, client_id, Direction.SERVER, encode_chain(own.chain))
            return Admitted(network, membership, chain, reply)
        self._refused.note(client_id, "what it shows belongs to no network of this node")
        return STRANGER

    def _check_own(self, circle: _Circle) -> None:
        """Raises `Refused` when this node is no member any more."""
        try:
            circle.state.verify(circle.joined.chain, self._node_id, time.time())
        except NotAMember as error:
            raise Refused(
                f"this node is no member of the network any more: {error.message}", hint=error.hint
            ) from error

    def _verify(self, circle: _Circle, shown: bytes, subject: NodeId) -> tuple[Membership, Chain]:
        try:
            chain = decode_chain(shown)
        except Malformed as error:
            raise NotAMember(Flaw.BROKEN_SIGNATURE, f"the certificate cannot be read: {error.message}") from error
        return circle.state.verify(chain, subject, time.time()), chain

    # Sessions

    def started(self, session: "PeerSession", network: NetworkId, membership: Membership, chain: Chain) -> None:
        """A session in a network began; both ends have been checked."""
        circle = self._circles.get(network)
        if circle is not None:
            circle.state.session_started(session, membership, chain, time.time())
            self.dirty = True
            self._carry_out(circle)

    def ended(self, session: "PeerSession") -> None:
        """It is over."""
        for circle in self._circles.values():
            circle.state.session_ended(session)

    def receive_news(self, session: "PeerSession", items: Sequence[bytes]) -> None:
        """What a member says."""
        circle = self._circles.get(session.member.network) if session.member else None
        if circle is not None:
            circle.state.receive_news(session, items, time.time())
            self.dirty = True
            self._carry_out(circle)

    def check_times(self) -> None:
        """Ends sessions of memberships that have run out, this node's own included. Call it every second."""
        for circle in self._circles.values():
            circle.state.handle_timeout(time.time())
            self._carry_out(circle)
            try:
                require_current(circle.joined.chain, time.time(), circle.state.revoked)
            except NotAMember as error:
                for session, _ in circle.state.sessions():
                    LOG.warning(
                        "ended the session with %s: this node's own membership: %s", session.where, error.message
                    )
                    session.blame(Refused(f"this node is no member of the network any more: {error.message}"), Code.OK)

    def label(self, network: NetworkId, node_id: NodeId) -> tuple[str, str]:
        """A member's label and role, as far as known."""
        circle = self._circles.get(network)
        known = circle.state.roster.get(node_id) if circle else None
        return (known.member.label, known.member.role.name.lower()) if known else ("", "")

    def revocations(self, network: NetworkId) -> RevocationSet:
        """Everything known to be revoked in a network."""
        circle = self._circles.get(network)
        return circle.state.revocations if circle else RevocationSet(network)

    def founder(self, network: NetworkId) -> NodeId | None:
        """The node that made a network, if it has been heard of: the one whom the network's key itself made an admin.
        Of several, who was first."""
        circle = self._circles.get(network)
        if circle is None:
            return None
        chains = [circle.joined.chain, *(known.chain for known in circle.state.roster)]
        founders = [chain[0] for chain in chains if len(chain) == 1 and chain[0].may_invite]
        first = min(founders, key=lambda each: (each.issued, each.subject), default=None)
        return NodeId(first.subject) if first else None

    def tell(self, network: NetworkId, items: Sequence[bytes], heard_from: "PeerSession | None" = None) -> None:
        """Says news to all sessions of a network but the one that they came by."""
        circle = self._circles.get(network)
        for session, _ in circle.state.sessions() if circle else ():
            if session is not heard_from:
                self._nursery.start_soon(_say, session, items)

    def save(self) -> None:
        """Writes down who was heard of. Blocks."""
        self.dirty = False
        for network, circle in list(self._circles.items()):
            if circle.joined.folder is not None:
                self._networks.keep_roster(network, [(each.chain, each.seen) for each in circle.state.roster])

    def _carry_out(self, circle: _Circle) -> None:
        for output in circle.state.take():
            if isinstance(output, HeadHeard):
                self.heard_head(output.session, output.record)
            elif isinstance(output, TellNews):
                self._nursery.start_soon(_say, output.session, output.items)
            elif isinstance(output, MembershipOver):
                LOG.warning("ended the session with %s: %s", output.session.where, output.error.message)
                output.session.blame(Refused(output.error.message), _CODES.get(output.error.flaw, Code.DENIED))
            elif isinstance(output, PeerLied):
                LOG.warning("ended the session with %s, which lied: %s", output.session.where, output.reason)
                output.session.blame(PeerError(f"{output.session.where} lied: {output.reason}"), Code.MALFORMED)
            elif circle.joined.folder is not None:
                self._nursery.start_soon(self._keep, circle)

    async def _keep(self, circle: _Circle) -> None:
        """Writes all revocations down; they are in effect already."""
        revocations = list(circle.state.revocations)
        try:
            await trio.to_thread.run_sync(self._networks.keep_revocations, circle.joined.network, revocations)
        except ForgeError as error:
            LOG.error("cannot keep what was revoked in network %s: %s", circle.joined.name, error)


async def _say(session: "PeerSession", items: Sequence[bytes]) -> None:
    with suppress(PeerError):
        session.session.say_news(items, trio.current_time())
        await session.flush()
