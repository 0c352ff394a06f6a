"""Operation: sync. A directory and a name become the same, in both directions.

newest record -> directory taken in -> their content fetched -> merged -> published -> the directory brought there

The record is put before the directory is touched, and only right after the record that was merged with (compare and
swap): who comes second fetches what came first and merges again. So whatever happens here, what was merged is safe
under the name.
"""

import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from forge_p2p.content.link import Kind, Root
from forge_p2p.content.linktext import format_link
from forge_p2p.content.pathtext import path_bytes, path_text
from forge_p2p.content.ref import RefRecord
from forge_p2p.content.snapshot import EntryKind
from forge_p2p.errors import Conflict, UsageError
from forge_p2p.node.fetch.prefetching import prefetch
from forge_p2p.node.local import Report
from forge_p2p.node.refs.naming import Named, parse_name
from forge_p2p.node.refs.publishing import held_elsewhere
from forge_p2p.node.refs.retention import pin_target, sweep
from forge_p2p.node.refs.writing import Change, Written, require_writer, write
from forge_p2p.node.results import Progress
from forge_p2p.node.syncing.folder import Folder, Merged, Mine
from forge_p2p.node.syncing.merging import Merging
from forge_p2p.node.syncing.results import ConflictEntry, SyncResult
from forge_p2p.node.syncing.state import State
from forge_p2p.workspace.ledger import Outcome

if TYPE_CHECKING:
    from forge_p2p.node.membership.members import Members
    from forge_p2p.node.network import Network

TRIES = 16
"""Records that may come first, one after the other."""

SHOWN = 1000
"""Paths of one sort that a result names."""

Emit = Callable[[bytes], Awaitable[None]]


async def sync(
    network: "Network",
    *,
    name: str,
    directory: str,
    in_network: str = "",
    watch: bool = False,
    outside_links: bool = False,
    emit: Emit,
    report: Report,
) -> SyncResult:
    """Syncs once; with `watch` then again whenever the directory or the name changes, until cancelled, and emits a line
    of JSON for each round that did something (`SyncResult`) or failed (`SyncTrouble`). `directory` in text form,
    absolute. Raises `UsageError`, `HomeUnreachable`, `Refused` for edits of one who may not publish, `Conflict` where
    others are faster all the time, and what `get` does."""
    members = await network.members()
    named = parse_name(members.memberships.joined(), name, in_network)
    if named.seq:
        raise UsageError(f"{name!r} names a record; a folder follows the newest", hint="leave @ and its number out")
    path = await trio.to_thread.run_sync(_real_path, directory)
    state = State(network.node.home, named.network, named.name, path)
    with state.locked():
        folder = Folder(network.node, path, state, outside_links=outside_links)
        syncing = Syncing(network, members, named, folder, report)
        if not watch:
            return await syncing.round()
        from forge_p2p.node.syncing.watching import watch_folder

        return await watch_folder(syncing, emit)


def _real_path(directory: str) -> bytes:
    return os.path.realpath(path_bytes(directory))


@dataclass(frozen=True, slots=True)
class _Done:
    """What one round came to."""

    mine: Mine
    merged: Merged
    outcome: Outcome
    record: RefRecord
    published: bool
    fetched: int
    notes: list[str]


class Syncing:
    """Rounds of one directory with one name. `busy`: something in it was being written in the last one."""

    def __init__(self, network: "Network", members: "Members", named: Named, folder: Folder, report: Report) -> None:
        self.members = members
        self.named = named
        self.folder = folder
        self.busy = False
        self._network = network
        self._report = report
        self._owner = named.joined.chain[-1].label or socket.gethostname() or "this node"

    async def round(self) -> SyncResult:
        """Makes both sides the same. Raises as `sync`."""
        started = time.monotonic()
        notes: list[str] = []
        for _ in range(TRIES):
            done = await self._attempt(notes)
            if done is not None:
                return await self._result(done, started)
        raise Conflict(
            f"{TRIES} other records of {self.named.name!r} came first, one after the other",
            hint="somebody publishes it all the time; nothing is lost: try again later",
        )

    async def _attempt(self, notes: list[str]) -> _Done | None:
        """One try; `None` when somebody else was faster."""
        self._report(Progress("connect"))
        head = await self.members.names.refresh(self.named.network, self.named.name)
        self._report(Progress("scan"))
        mine = await trio.to_thread.run_sync(self.folder.take, self._report_from_thread())
        self.busy = mine.busy
        live = head is not None and not head.has_expired(time.time())
        if head is not None and live and head.target.kind is not Kind.TREE:
            raise UsageError(
                f"{self.named.name!r} stands for no directory; only directories can be synced",
                hint=f"forge log {self.named.name} shows what it stands for; choose another name for the directory",
            )
        if head is not None and live and await trio.to_thread.run_sync(self.folder.agreed, mine, head.target):
            nothing = Merged(head.target, mine.entries, [], [], [], [], [])
            return _Done(mine, nothing, Outcome(0, 0, 0, 0, []), head, False, 0, notes)
        theirs, author = (head.target, self._author(head)) if head is not None and live else (None, "")
        merging = Merging(self.folder, mine, self._owner, theirs, author)
        fetched = await self._fetch(head, mine.agreed, merging) if head is not None and live else 0
        merged = await trio.to_thread.run_sync(merging.merged)
        record = head
        if merged.root != theirs:
            try:
                record = await self._publish(merged, head)
            except Conflict as lost:
                notes.append(lost.message)
                return None
        assert record is not None, "there was one, or one was made"
        self._report(Progress("restore"))
        outcome = await trio.to_thread.run_sync(self.folder.apply, mine, merged)
        return _Done(mine, merged, outcome, record, record is not head, fetched, notes)

    async def _fetch(self, head: RefRecord, agreed: Root | None, merging: Merging) -> int:
        """All content of a record into the store, as deltas against what was `agreed` last, and what is in new
        directories to where it will be; how many bytes came."""
        node, named, root = self._network.node, self.named, head.target
        pin = partial(pin_target, node, named.network, named.name, head.seq, root)
        holding = self.members.holdings.find(named.network, root.link.hash)
        if holding is not None and holding.complete and await self.members.holdings.ready(holding):
            await trio.to_thread.run_sync(pin)
            return 0
        self._report(Progress("fetch"))
        try:
            counts = await prefetch(self._network, root, named.joined.name, pin, agreed, stage=merging.stage)
        finally:
            merging.close()
        await trio.to_thread.run_sync(sweep, node, self.members.holdings, named.network, named.name)
        return counts.fetched

    async def _publish(self, merged: Merged, head: RefRecord | None) -> RefRecord:
        """A record for what was merged, right after `head`. Raises `Conflict` if another came there."""
        require_writer(self.named)
        self._report(Progress("publish"))
        holdings, named, root = self.members.holdings, self.named, merged.root
        size = sum(entry.size for entry in merged.entries)
        keep = partial(
            holdings.keep, named.network, root, origin=True, path=path_text(self.folder.path), size=size, pinned=False
        )
        holdings.tell(await trio.to_thread.run_sync(keep))
        if named.network in self.members.lookups:
            self.members.lookups[named.network].announce(root.link.hash)
        change = _change(root, head)
        written = await write(self.members, named, lambda newest: change, after=head.seq if head else 0)
        return written.record

    def _author(self, record: RefRecord) -> str:
        label = record.chain[-1].label or self.members.memberships.label(self.named.network, record.author)[0]
        return label or f"node {record.author.hex()[:8]}"

    def _report_from_thread(self) -> Report:
        token = trio.lowlevel.current_trio_token()

        def report(progress: Progress) -> None:
            trio.from_thread.check_cancelled()
            token.run_sync_soon(self._report, progress)

        return report

    async def _result(self, done: _Done, started: float) -> SyncResult:
        record, notes = done.record, [*done.mine.notes, *done.notes]
        held = False
        if record.author == self.members.own_id:  # also if it was put by a command that was killed right after
            written = Written(record, unchanged=not done.published)
            held = await held_elsewhere(self._network, self.members, self.named, written, self._report)
            if done.published and not held and not self._network.stays and record.home != self.members.own_id:
                notes.append("the home does not have the content yet: forge up keeps it within reach")
        failures = [*done.mine.problems, *done.outcome.failures]
        files = [entry for entry in done.merged.entries if entry.kind == EntryKind.FILE]
        return SyncResult(
            ref=self.named.ref(record.seq),
            network=self.named.joined.name,
            name=self.named.name,
            seq=record.seq,
            link=format_link(record.target),
            directory=path_text(self.folder.path),
            published=done.published,
            held=held,
            files=len(files),
            bytes=sum(entry.size for entry in files),
            sent=_names(entry.path for entry in done.merged.sent),
            sent_removals=_names(done.merged.withdrawn),
            received=_names(entry.path for entry in done.merged.take),
            received_removals=_names(done.merged.remove),
            fetched_bytes=done.fetched,
            conflicts=[
                ConflictEntry(path_text(each.path), path_text(each.copy), each.owner) for each in done.merged.conflicts
            ],
            problems=[str(each) for each in failures[:SHOWN]],
            notes=notes,
            seconds=time.monotonic() - started,
        )


def _change(root: Root, head: RefRecord | None) -> Change:
    if head is None or head.has_expired(time.time()):
        return Change(root, bool(head and head.protected))
    return Change(root, head.protected, head.expires)


def _names(paths: Iterable[bytes]) -> list[str]:
    return [path_text(path) for path, _ in zip(paths, range(SHOWN), strict=False)]
