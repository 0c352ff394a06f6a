"""The members of a network that are known here: from sessions, where they proved who they are, or by hearsay.

It is for people to look at and for admins to revoke by; nothing is decided by it. A token's bearer can make
certificates for any number of keys, and for keys of others; so the number is bounded, those of the token that has most
of them go first, and hearsay never takes the place of what a member itself has shown.
"""

from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Final

from forge_p2p.content.membership import Chain, Membership, NotAMember, require_current
from forge_p2p.ids import NodeId

MEMBERS_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class Known:
    """A member and its chain. `seen`: when it was last heard of, in Unix seconds; `met`: in a session of its own."""

    member: Membership
    chain: Chain
    seen: float
    met: bool

    def is_current(self, now: float, revoked: Container[bytes]) -> bool:
        """Whether its chain is still good."""
        try:
            require_current(self.chain, now, revoked)
        except NotAMember:
            return False
        return True


class Roster:
    """Members by their node's id."""

    def __init__(self) -> None:
        self._known: dict[NodeId, Known] = {}

    def __iter__(self) -> Iterator[Known]:
        return iter(list(self._known.values()))

    def __len__(self) -> int:
        return len(self._known)

    def get(self, node_id: NodeId) -> Known | None:
        return self._known.get(node_id)

    def put(self, known: Known) -> bool:
        """Adds or replaces a member; whether its chain is news."""
        before = self._known.get(known.member.node_id)
        self._known[known.member.node_id] = known
        if before is None and len(self._known) > MEMBERS_MAX:
            self._drop_one()
        return before is None or before.chain != known.chain

    def latest(self, count: int) -> list[Known]:
        """Those heard of last."""
        return sorted(self._known.values(), key=lambda each: each.seen, reverse=True)[:count]

    def drop_expired(self, now: float) -> bool:
        """Forgets whose time has run out, but not who was revoked; whether there were any."""
        over = [node_id for node_id, each in self._known.items() if 0 < each.member.expires <= now]
        for node_id in over:
            del self._known[node_id]
        return bool(over)

    def _drop_one(self) -> None:
        sizes = Counter(each.member.token for each in self._known.values())
        most = sizes.most_common(1)[0][0]
        candidates = (each for each in self._known.values() if each.member.token == most)
        oldest = min(candidates, key=lambda each: (each.met, each.seen))
        del self._known[oldest.member.node_id]
