"""Where a log is kept: one interface for this node's own store, another node over the wire, and a bucket."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import trio

from forge_p2p.content.ref import NOTHING, RefRecord, decode_record
from forge_p2p.errors import ForgeError, Malformed, PeerError, Refused
from forge_p2p.ids import Hash
from forge_p2p.proto.hello import REFS
from forge_p2p.proto.reflog import Exists, RefLog, Stored, Tip
from forge_p2p.wire import messages
from forge_p2p.wire.codes import Code
from forge_p2p.wire.limits import REF_NAMES_COUNT, REF_RECORDS_COUNT
from forge_p2p.wire.refs import RefList, RefNames, RefPut, RefRead, RefRecords, RefVerdict

if TYPE_CHECKING:
    from forge_p2p.bucket.reflog import BucketLog
    from forge_p2p.node.sessions.peer import PeerSession

TIMEOUT = 20.0
"""Seconds that a home may take for one answer: it verifies, and it waits for its disk."""

BUSY_TRIES = 20
BUSY_WAIT = 0.25
"""Seconds between questions to a home that was asked too much; how much that is, its protocol says."""


@dataclass(frozen=True, slots=True)
class Since:
    """Records of a log from a number on, as many as one answer holds, and where the log ends."""

    tip: Tip
    records: list[RefRecord]


class RefHome(Protocol):
    """The logs of one network's names at one place; as `proto.reflog.RefLog`, for who may have to wait.

    Errors: `BadRef`, `BucketError`, `PeerError` when the place cannot be reached, `NotHome`, `Refused`, `StoreError`,
    `DiskError`."""

    async def put_if_absent(self, record: RefRecord) -> Stored | Exists: ...

    async def head(self, name: str) -> RefRecord | None: ...

    async def since(self, name: str, from_seq: int, count: int = REF_RECORDS_COUNT) -> Since:
        """Records from a number on, and the end of the log, seen at one moment."""

    async def names(self, after: str = "", count: int = REF_NAMES_COUNT) -> list[str]: ...


class NotHome(PeerError):
    """The place is not the log's home, or not any more."""


class LocalHome:
    """A `RefLog` that blocks, called in worker threads."""

    def __init__(self, log: RefLog) -> None:
        self._log = log

    async def put_if_absent(self, record: RefRecord) -> Stored | Exists:
        return await trio.to_thread.run_sync(self._log.put_if_absent, record)

    async def head(self, name: str) -> RefRecord | None:
        return await trio.to_thread.run_sync(self._log.head, name)

    async def since(self, name: str, from_seq: int, count: int = REF_RECORDS_COUNT) -> Since:
        return await trio.to_thread.run_sync(read_since, self._log, name, from_seq, count)

    async def names(self, after: str = "", count: int = REF_NAMES_COUNT) -> list[str]:
        return await trio.to_thread.run_sync(self._log.names, after, count)


class BucketHome:
    """The logs in a bucket. Nobody there verifies anything: `vouched` is never to be said of what it tells."""

    def __init__(self, log: "BucketLog") -> None:
        self._log = log

    async def put_if_absent(self, record: RefRecord) -> Stored | Exists:
        return await trio.to_thread.run_sync(self._log.put_if_absent, record)

    async def fill(self, records: Sequence[RefRecord]) -> None:
        """See `BucketLog.fill`."""
        await trio.to_thread.run_sync(self._log.fill, records)

    async def head(self, name: str) -> RefRecord | None:
        return await trio.to_thread.run_sync(self._log.head, name)

    async def since(self, name: str, from_seq: int, count: int = REF_RECORDS_COUNT) -> Since:
        return Since(*await trio.to_thread.run_sync(self._log.since, name, from_seq, count))

    async def names(self, after: str = "", count: int = REF_NAMES_COUNT) -> list[str]:
        return await trio.to_thread.run_sync(self._log.names, after, count)


class RemoteHome:
    """The logs at a member, over a session with it. What it says is not verified here but for its form."""

    def __init__(self, session: "PeerSession") -> None:
        self._session = session

    async def put_if_absent(self, record: RefRecord) -> Stored | Exists:
        reply = await self._ask(RefPut(record.encode()))
        assert isinstance(reply, RefVerdict)
        return Exists(self._decoded(reply.existing)) if reply.existing else Stored()

    async def head(self, name: str) -> RefRecord | None:
        tip = (await self.since(name, 0, 0)).tip
        if not tip.seq:
            return None
        records = (await self.since(name, tip.seq, 1)).records
        return records[0] if records else None

    async def since(self, name: str, from_seq: int, count: int = REF_RECORDS_COUNT) -> Since:
        reply = await self._ask(RefRead(name, from_seq, count))
        assert isinstance(reply, RefRecords)
        records = [self._decoded(each) for each in reply.records[:count]]
        return Since(Tip(reply.tip_seq, Hash(reply.tip_hash)), records)

    async def names(self, after: str = "", count: int = REF_NAMES_COUNT) -> list[str]:
        reply = await self._ask(RefList(after, count))
        assert isinstance(reply, RefNames)
        return list(reply.names)

    async def _ask(self, query: messages.RefQuery) -> messages.Reply:
        if REFS not in self._session.capabilities:
            raise PeerError(
                f"{self._session.where} runs an older Forge, which knows no names", hint="a newer one has to be there"
            )
        reply = await self._session.query(query, TIMEOUT)
        for _ in range(BUSY_TRIES):
            if not isinstance(reply, messages.Done) or reply.code != Code.BUSY:
                break
            await trio.sleep(BUSY_WAIT)
            reply = await self._session.query(query, TIMEOUT)
        if isinstance(reply, messages.Done):
            raise self._turned_down(reply)
        return reply

    def _turned_down(self, done: messages.Done) -> ForgeError:
        code, reason = messages.code_of(done.code), messages.printable(done.reason)
        where = self._session.where
        if code is Code.NOT_HOME:
            return NotHome(f"{where} does not keep this name: {reason}")
        if code in {Code.READ_ONLY, Code.REJECTED, Code.DENIED}:
            return Refused(f"{where} refused: {reason}", hint=_HINTS.get(code, ""))
        return PeerError(f"{where} did not answer: {reason or code.name.lower()}", hint="try again in a moment")

    def _decoded(self, data: bytes) -> RefRecord:
        try:
            return decode_record(data)
        except Malformed as error:
            raise Malformed(f"{self._session.where} sent a record that cannot be read: {error.message}") from error


_HINTS = {Code.READ_ONLY: "an admin can invite this node as a writer: forge network invite --role writer"}


async def all_names(home: RefHome) -> list[str]:
    """Every name at one place."""
    found: list[str] = []
    while part := await home.names(found[-1] if found else ""):
        found += part
        if len(part) < REF_NAMES_COUNT:
            break
    return found


def read_since(log: RefLog, name: str, from_seq: int, count: int) -> Since:
    """As `RefHome.since`, of a log that blocks. What is put meanwhile may be in the records and not in the tip."""
    head = log.head(name)
    records = log.range(name, max(from_seq, 1), count) if count else []
    return Since(Tip(head.seq, head.hash) if head else Tip(0, NOTHING), records)
