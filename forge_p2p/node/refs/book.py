"""The logs that this node has, and what it lets into them. Everything here blocks and is safe from any thread."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from forge_p2p.content.membership import Role, require_current
from forge_p2p.content.moment import date_of
from forge_p2p.content.ref import BadRef, RefFlaw, RefRecord, require_written_now, verify_step
from forge_p2p.errors import NotFound
from forge_p2p.ids import NetworkId, NodeId
from forge_p2p.node.local import LocalNode
from forge_p2p.node.refs.homes import NotHome, Since
from forge_p2p.proto.reflog import Exists, Judge, Stored, check_tip, forked
from forge_p2p.proto.revocations import RevocationSet


@dataclass(frozen=True, slots=True)
class Authority:
    """What is known of a network's rights: who is revoked, and which node is the home of new names."""

    revocations: RevocationSet
    founder: NodeId | None


class Book:
    """`authority` says what holds in a network now."""

    def __init__(self, node: LocalNode, authority: Callable[[NetworkId], Authority]) -> None:
        self._node = node
        self._authority = authority
        self._judges: dict[NetworkId, Judge] = {}

    def head(self, network: NetworkId, name: str) -> RefRecord | None:
        """The newest record known here."""
        return self._node.refs.head(network, name)

    def judge(self, network: NetworkId) -> Judge:
        """Who decides what is believed."""
        revocations = self._authority(network).revocations
        judge = self._judges.get(network)
        if judge is None or judge.revocations is not revocations:
            judge = self._judges[network] = Judge(network, revocations)
        return judge

    def home_of(self, network: NetworkId, head: RefRecord | None) -> NodeId | None:
        """The node at which the record after `head` has to be put; `None`: nobody knows yet."""
        return head.home if head is not None else self._authority(network).founder

    def adopt(
        self, network: NetworkId, name: str, since: Since, home: NodeId, *, vouched: bool = True
    ) -> RefRecord | None:
        """Takes over what the home of a name told; the newest record then. Records after one that moves the home away
        are for the new one to tell. `vouched`: the home is one that verifies. Raises `BadRef`."""
        head = self.head(network, name)
        if head is not None and since.tip.seq < head.seq and self.has_just_moved(head):
            return head  # the new home has not heard of that yet, and so has nothing to tell
        check_tip(name, head, since.tip)
        records = [record for record in since.records if head is None or record.seq > head.seq]
        moved = next((at for at, record in enumerate(records, 1) if record.home != home), len(records))
        self.judge(network).verify_run(name, records[:moved], head, vouched=vouched, now=time.time())
        self._node.refs.put_all(records[:moved])
        return records[moved - 1] if moved else head

    def has_just_moved(self, head: RefRecord) -> bool:
        """Whether it is the newest record itself that says where its successor goes."""
        before = self._node.refs.range(head.network, head.name, head.seq - 1, 1)
        return self.home_of(head.network, before[0] if before else None) != head.home

    def whole(self, network: NetworkId, name: str) -> list[RefRecord]:
        """All records that are known here."""
        head = self.head(network, name)
        return self._node.refs.range(network, name, 1, head.seq) if head is not None else []

    def believable(self, network: NetworkId, name: str, since: Since) -> RefRecord | None:
        """The newest record that somebody else than the home tells, if it is newer than what is known here. Nothing is
        kept of it. Raises `BadRef`."""
        head = self.head(network, name)
        if since.tip.seq <= (head.seq if head else 0) or not since.records:
            return None
        self.judge(network).verify_run(name, since.records, head, vouched=False, now=time.time())
        return since.records[-1]

    def verify_alone(self, network: NetworkId, name: str, record: RefRecord) -> None:
        """One record that nobody vouches for, and those before it may not be known: by somebody with the right, and not
        against what is known here. Raises `BadRef`."""
        self.judge(network).verify_alone(name, record, time.time())
        head = self.head(network, name)
        if head is None:
            return
        if record.seq <= head.seq:
            if self._node.refs.range(network, name, record.seq, 1) not in ([], [record]):
                raise forked(record, record.seq - 1)
        elif record.seq == head.seq + 1:
            verify_step(record, head)
        elif head.protected and record.role is not Role.ADMIN:
            raise BadRef(
                RefFlaw.PROTECTED,
                f"{name!r} was protected when it was last heard of, and record {record.seq} is by no admin",
                hint="forge pull asks its home what came between",
            )

    def accept(self, own_id: NodeId, record: RefRecord) -> Stored | Exists:
        """What a home does with a record that it is given. Raises `BadRef`, `NotAMember`, `NotHome`."""
        now = time.time()
        self.judge(record.network).verify_one(record.name, record, now)
        require_current(record.chain, now, self._authority(record.network).revocations)
        head = self.head(record.network, record.name)
        if self.home_of(record.network, head) != own_id:
            raise NotHome(f"the home of {record.name!r} is another node")
        if head is None or record.seq > head.seq:
            require_written_now(record, now)
            verify_step(record, head)
            if head is None and record.home != own_id and record.role is not Role.ADMIN:
                raise BadRef(RefFlaw.PROTECTED, "only admins may choose another home for a name")
        return self._node.refs.put(record)

    def at(self, network: NetworkId, name: str, seq: int) -> RefRecord:
        """One record that is known here. Raises `NotFound`."""
        records = self._node.refs.range(network, name, seq, 1) if seq > 0 else []
        if not records:
            raise NotFound(f"{name!r} has no record {seq}", hint="forge log NAME lists those it has")
        return records[0]


def require_unexpired(record: RefRecord) -> None:
    """Raises `NotFound` for a name that stands for nothing any more."""
    if record.has_expired(time.time()):
        raise NotFound(
            f"{record.name!r} expired at {date_of(record.expires)}",
            hint=f"forge pull {record.name}@{record.seq} gets what it stood for, if anybody still has it",
        )
