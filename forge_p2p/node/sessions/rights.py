"""Who may have what: a ticket's capability opens its root, nothing opens anything else."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from forge_p2p.content.link import Root
from forge_p2p.content.ticket import Capability, decode_capability, verify
from forge_p2p.errors import ForgeError, Malformed, Refused
from forge_p2p.ids import Hash, NodeId
from forge_p2p.node.local import LocalNode
from forge_p2p.node.sessions.refusals import RefusalLog
from forge_p2p.node.sessions.scope import Closure
from forge_p2p.node.shares import Shares
from forge_p2p.proto.auth import Refusal, Scope
from forge_p2p.wire.codes import Code

LOG = logging.getLogger("forge")

STRANGER = Refusal(Code.DENIED, "this node answers members of its networks and holders of a ticket, nobody else")

CLOSURES_KEPT = 64

_REVOKED = Refusal(Code.REVOKED, "this ticket was revoked: its share has been removed")
_EXPIRED = Refusal(Code.EXPIRED, "this ticket has expired")


@dataclass(frozen=True, slots=True)
class Grant:
    """The scope of a session: what its capability opens, while that is good."""

    capability: Capability
    closure: Closure
    member: bool = False

    def allows(self, chunk: Hash) -> bool:
        """Whether the capability opens this chunk."""
        return self.closure.allows(chunk)


class Rights:
    """The node's authorizer. Closures are kept for the shares asked for lately."""

    def __init__(self, node: LocalNode) -> None:
        self._node = node
        self._shares = Shares(node.home)
        self._refused = RefusalLog()
        self._closures: OrderedDict[Root, Closure] = OrderedDict()
        self._lock = threading.Lock()

    def authorize(self, client_id: NodeId, credentials: bytes, now: float) -> Scope | Refusal | None:
        """`None`: it takes a look at the disk, so `decide` says it from a thread. The interface of `proto.auth`."""
        if credentials:
            return None
        self._refused.note(client_id, "it shows neither a ticket nor a certificate")
        return STRANGER

    def decide(self, client_id: NodeId, credentials: bytes) -> Scope | Refusal:  # any bearer may
        """The verdict about the ticket that a client shows; a refusal is in the log. Blocks. Raises `ForgeError` when
        the store fails."""
        verdict = self._verdict(credentials)
        if isinstance(verdict, Refusal):
            self._refused.note(client_id, verdict.reason)
        return verdict

    def _verdict(self, credentials: bytes) -> Scope | Refusal:
        try:
            capability = decode_capability(credentials)
            verify(capability, self._node.node_id, time.time())
        except Malformed:
            return Refusal(Code.DENIED, "the ticket is not one that this node understands")
        except Refused as error:
            expired = 0 < capability.expires <= time.time()
            return Refusal(Code.EXPIRED if expired else Code.DENIED, error.message)
        share = self._shares.find(capability.id)
        if share is None:
            return _REVOKED
        try:
            return Grant(capability, self._closure(capability.root))
        except ForgeError as error:
            LOG.error("the share of %s is damaged: %s (adding it again heals it)", share.path, error.message)
            return Refusal(Code.STORE, "the share is damaged at its source")

    def ended(self, grants: Iterable[Grant]) -> dict[bytes, Refusal]:
        """The capabilities, by id, that are good no more. Blocks: one look at the disk each."""
        until = {grant.capability.id: grant.capability.expires for grant in grants}
        now = time.time()
        refusals = {identity: _EXPIRED for identity, expires in until.items() if 0 < expires <= now}
        return refusals | {identity: _REVOKED for identity in until if self._shares.find(identity) is None}

    def _closure(self, root: Root) -> Closure:
        with self._lock:
            closure = self._closures.get(root)
            if closure is not None:
                self._closures.move_to_end(root)
                return closure
        closure = Closure(root, self._node.store.read)
        with self._lock:
            self._closures[root] = closure
            while len(self._closures) > CLOSURES_KEPT:
                self._closures.popitem(last=False)
        return closure
