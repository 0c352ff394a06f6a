"""What a node knows of one network's members and revocations, and what of it is news to whom.

Every session with a member begins with a digest of the revocations known; who sees another digest than its own says
all that it has. What was not known before takes effect at once, on open sessions too, and is passed on to all other
sessions; what was known, or is not good, goes no further, so nothing circles. Whoever passes on what no honest node
would have believed loses its session.

Sans-IO: a session is any hashable thing, `now` is in Unix seconds (certificates speak of them), and what is to be done
comes out of `take()`.
"""

from collections.abc import Container, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Generic, TypeVar

from forge_p2p.content.membership import (
    Chain,
    Flaw,
    Membership,
    NotAMember,
    decode_chain,
    encode_chain,
    membership_by,
    require_current,
    verify_chain,
)
from forge_p2p.content.revocation import Revocation, decode_revocation
from forge_p2p.errors import Malformed
from forge_p2p.ids import NetworkId, NodeId
from forge_p2p.proto.revocations import RevocationSet
from forge_p2p.proto.roster import Known, Roster
from forge_p2p.proto.timers import TokenBucket

S = TypeVar("S", bound=Hashable)

TOLD_AT_FIRST: Final = 128
"""Members told to a new session: two frames."""

CHECK_RATE: Final = 8.0
CHECK_BURST: Final = 256.0
"""Members unknown so far that one session may bring a second. Checking one takes up to 0.4 ms; what is beyond goes
unheard, for the roster is a convenience. Revocations have no such limit: forged ones end the session, and good ones
are bounded by `RevocationSet`."""

PASSED_RATE: Final = 32.0
PASSED_BURST: Final = 512.0
"""Members a second that are passed on, so that a session's outbox does not grow."""


HEAD_RATE: Final = 16.0
HEAD_BURST: Final = 256.0
"""Heads of names that one session may bring a second; what is beyond goes unheard. A head is a hint: who follows a
name asks its home now and then, too."""


class News(IntEnum):
    """First byte of an item. Others are of a later version, and skipped."""

    DIGEST = 0
    REVOCATION = 1
    MEMBER = 2
    HEAD = 3


_TOO_OLD_OR_NEW = frozenset({Flaw.EXPIRED, Flaw.NOT_YET_VALID, Flaw.REVOKED})
"""Flaws about which two honest nodes may differ for a while."""


@dataclass(frozen=True, slots=True)
class TellNews(Generic[S]):
    """Say these items to a session."""

    session: S
    items: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class MembershipOver(Generic[S]):
    """The session's peer is a member no more: end it."""

    session: S
    error: NotAMember


@dataclass(frozen=True, slots=True)
class PeerLied(Generic[S]):
    """The session's peer said what no honest member says: end it."""

    session: S
    reason: str


@dataclass(frozen=True, slots=True)
class RevocationsLearned:
    """To be kept on disk. They are in effect already."""

    revocations: Sequence[Revocation]


@dataclass(frozen=True, slots=True)
class HeadHeard(Generic[S]):
    """The session's peer says that this is the newest record of a name; to be verified."""

    session: S
    record: bytes


Output = HeadHeard[S] | TellNews[S] | MembershipOver[S] | PeerLied[S] | RevocationsLearned


@dataclass(slots=True)
class _Session:
    member: Membership
    chain: Chain
    said_all: bool = False
    checks: TokenBucket = field(default_factory=lambda: TokenBucket.full(CHECK_RATE, CHECK_BURST))
    heads: TokenBucket = field(default_factory=lambda: TokenBucket.full(HEAD_RATE, HEAD_BURST))


class NetworkMembers(Generic[S]):
    """The state of one network."""

    def __init__(self, network: NetworkId) -> None:
        self.network = network
        self.roster = Roster()
        self._revocations = RevocationSet(network)
        self._sessions: dict[S, _Session] = {}
        self._out: list[Output[S]] = []
        self._passed = TokenBucket.full(PASSED_RATE, PASSED_BURST)
        self._looked = 0.0

    @property
    def revocations(self) -> RevocationSet:
        return self._revocations

    @property
    def revoked(self) -> Container[bytes]:
        """The keys that are."""
        return self._revocations

    def sessions(self) -> list[tuple[S, Membership]]:
        """Those that are open, and with whom."""
        return [(key, session.member) for key, session in self._sessions.items()]

    def verify(self, chain: Chain, subject: bytes, now: float) -> Membership:
        """What the node `subject` is by this chain. Raises `NotAMember`."""
        return verify_chain(chain, self.network, subject, now, self._revocations)

    def take(self) -> list[Output[S]]:
        """All outputs since the last call, in order."""
        taken = self._out.copy()
        self._out.clear()
        return taken

    # Inputs

    def session_started(self, key: S, member: Membership, chain: Chain, now: float) -> None:
        """A session with a member, as `verify` found it; ended at once if that has changed since."""
        session = _Session(member, chain)
        self._sessions[key] = session
        if not self._check(key, session, now):
            return
        known = self.roster.latest(TOLD_AT_FIRST)
        others = [encode_member(each.chain) for each in known if each.is_current(now, self._revocations)]
        self._out.append(TellNews(key, [encode_digest(self._revocations.digest()), *others]))
        if self.roster.put(Known(member, chain, now, met=True)):
            self._pass_on(key, [encode_member(chain)], now)

    def session_ended(self, key: S) -> None:
        """It is over, whoever ended it."""
        self._sessions.pop(key, None)

    def receive_news(self, key: S, items: Iterable[bytes], now: float) -> None:
        """What a session's peer says."""
        revocations: list[Revocation] = []
        members: list[Chain] = []
        try:
            for item in items:
                self._receive(key, item, now, revocations, members)
        except (Malformed, NotAMember) as error:
            self._sessions.pop(key, None)
            self._out.append(PeerLied(key, error.message))
        self._adopt(revocations, key, now)
        self._pass_on(key, [encode_member(chain) for chain in members], now)

    def add_revocation(self, revocation: Revocation, now: float) -> bool:
        """A revocation made here or read from the disk; whether it was news. Raises `NotAMember` when its signer had no
        right."""
        fresh = self._revocations.merge(revocation)
        if fresh:
            self._spread([revocation], None, now)
        return fresh

    def restore(self, chains: Iterable[tuple[Chain, float]], now: float) -> None:
        """Members that were verified and remembered, and when they were last heard of."""
        for chain, seen in chains:
            member = membership_by(chain)
            if self.roster.get(member.node_id) is None:
                self.roster.put(Known(member, chain, seen, met=False))
        self.roster.drop_expired(now)

    def handle_timeout(self, now: float) -> None:
        """Ends the sessions whose time has run out; early or repeated calls do no harm."""
        due = self.next_deadline()
        if now < self._looked or (due is not None and due <= now):  # a clock that was set back changes what is valid
            for key, session in list(self._sessions.items()):
                self._check(key, session, now)
        self._looked = now
        self.roster.drop_expired(now)

    def next_deadline(self) -> float | None:
        """When the next membership of an open session runs out."""
        return min((each.member.expires for each in self._sessions.values() if each.member.expires), default=None)

    # Inside

    def _receive(self, key: S, item: bytes, now: float, revocations: list[Revocation], members: list[Chain]) -> None:
        """One item; what is news goes to the lists. Raises `Malformed` or `NotAMember` at a lie."""
        session = self._sessions.get(key)
        if session is None or not item:
            return
        kind, body = item[0], item[1:]
        if kind == News.DIGEST:
            if self._revocations and not session.said_all and body != self._revocations.digest():
                session.said_all = True
                self._out.append(TellNews(key, [encode_revocation(each) for each in self._revocations]))
        elif kind == News.REVOCATION:
            revocation = decode_revocation(body)
            if self._revocations.merge(revocation):
                revocations.append(revocation)
        elif kind == News.MEMBER:
            chain = decode_chain(body)
            if self._is_news(session, chain, now):
                members.append(chain)
        elif kind == News.HEAD and session.heads.try_take(1.0, max(now, session.heads.filled)):
            self._out.append(HeadHeard(key, body))

    def _is_news(self, session: _Session, chain: Chain, now: float) -> bool:
        """Adds a member by hearsay unless something better is known. Raises `NotAMember` at a lie."""
        subject = NodeId(chain[-1].subject if chain else b"")
        known = self.roster.get(subject)
        if known is not None and (known.chain == chain or known.is_current(now, self._revocations)):
            return False
        if not session.checks.try_take(1.0, max(now, session.checks.filled)):
            return False
        try:
            member = self.verify(chain, subject, now)
        except NotAMember as error:
            if error.flaw in _TOO_OLD_OR_NEW:
                return False
            raise
        return self.roster.put(Known(member, chain, now, met=False))

    def _adopt(self, revocations: list[Revocation], source: S, now: float) -> None:
        if revocations:
            self._out.append(RevocationsLearned(revocations))
            self._spread(revocations, source, now)

    def _spread(self, revocations: list[Revocation], source: S | None, now: float) -> None:
        """Revocations that are in the set now: told to the others, and applied to all."""
        items = [encode_revocation(revocation) for revocation in revocations]
        for key, session in list(self._sessions.items()):
            if key != source:
                self._out.append(TellNews(key, items))
            self._check(key, session, now)

    def _pass_on(self, source: S, items: list[bytes], now: float) -> None:
        """Members that were unknown, to all others."""
        passed = [item for item in items if self._passed.try_take(1.0, max(now, self._passed.filled))]
        if passed:
            self._out += [TellNews(key, passed) for key in self._sessions if key != source]

    def _check(self, key: S, session: _Session, now: float) -> bool:
        """Whether the session may go on; if not, it is over."""
        try:
            require_current(session.chain, now, self._revocations)
        except NotAMember as error:
            self._sessions.pop(key, None)
            self._out.append(MembershipOver(key, error))
            return False
        return True


def encode_digest(digest: bytes) -> bytes:
    """An item of news: the digest of all revocations that the sender knows."""
    return bytes((News.DIGEST,)) + digest


def encode_revocation(revocation: Revocation) -> bytes:
    """An item of news: a revocation."""
    return bytes((News.REVOCATION,)) + revocation.encode()


def encode_member(chain: Chain) -> bytes:
    """An item of news: a member's chain."""
    return bytes((News.MEMBER,)) + encode_chain(chain)


def encode_head(record: bytes) -> bytes:
    """An item of news: the newest record of a name."""
    return bytes((News.HEAD,)) + record
