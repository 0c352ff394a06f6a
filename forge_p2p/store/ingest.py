"""One writer's session on disk.

Where a chunk goes:
- A large content (a `group` that has brought 1 MiB) has a data file of its own, in order of arrival, or laid out as the
  content is.
- Everything else goes into the shared data file of the session: one file for the small contents of a whole tree, so
  that a tree costs a handful of files and is read back in long runs.
- A session that in the end has brought little (4 MiB of chunks of at most 64 KiB) leaves no file at all: its chunks
  become values of the database, in one transaction.

A session with a key writes to its staging files at once, so a kill loses no more than the call it was in; without a key
nothing could be resumed, and small chunks wait in memory.

Committing: sync data files and journals; then one transaction, in which they are renamed and the folder synced. Until
it ends nobody else sees anything; after it everything is durable.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from forge_p2p.content.codec import Codec, EncodedChunk, decode
from forge_p2p.content.link import CHUNK_MIN
from forge_p2p.errors import DiskError, ForgeError, StoreError
from forge_p2p.ids import Hash
from forge_p2p.store.appender import Appender
from forge_p2p.store.base import LAYOUT_MAX, Pin, Tallied
from forge_p2p.store.context import Context, NewFile
from forge_p2p.store.landing import place, prepare
from forge_p2p.store.leases import Lease
from forge_p2p.store.orphans import adopt
from forge_p2p.store.quota import Room
from forge_p2p.store.records import CODECS
from forge_p2p.store.session import Session
from forge_p2p.store.staging import Staging

INLINE_MAX: Final = 64 << 10
"""Stored bytes of the largest chunk that may become a value of the database."""

INLINE_SESSION_MAX: Final = 4 << 20
"""Stored bytes up to which a session's small chunks do. Measured: one transaction costs 2.4 ms/MB, a data file with its
journal 1.6 ms/MB and 3 ms to sync; above this the file is cheaper."""

OWN_FILE_FROM: Final = 1 << 20
"""Stored bytes from which a group has a data file of its own."""

_FILE_MAX: Final = 1 << 30
_SHARED_MAX: Final = 256 << 20
_ENTRIES_MAX: Final = 16384
"""A data file that has reached one of these is landed and another begun: it bounds what a session keeps in memory."""

_LAID_OUT_ENTRIES_MAX: Final = LAYOUT_MAX // CHUNK_MIN
"""As that, where a file has to stay in one piece: no content that Forge has cut has more, but somebody else's may."""

_OPEN_GROUPS: Final = 32


class DiskIngest:
    """The session. Several threads may use it; `close` ends it."""

    def __init__(self, context: Context, key: Hash | None) -> None:
        self._context = context
        self._key = key
        self._lock = threading.Lock()
        self._group_bytes: dict[int, int] = {}
        self._groups: OrderedDict[int, Appender] = OrderedDict()
        self._others: list[Appender] = []
        self._shared: Appender | None = None
        self._pending_bytes = 0
        self._chunks = self._raw_bytes = self._stored_bytes = 0
        self._staging: Staging | None = None
        self._closed = False
        self._session = Session(Lease(context.layout.leases, context.claims.epoch))
        self._room = Room(context)
        context.enter(self._session)
        try:
            if key is not None:
                self._resume(key)
        except BaseException:
            self.close()
            raise

    def put(self, chunks: Sequence[tuple[Hash, bytes | memoryview]], group: int | None = None) -> None:
        absent = set(self.missing(chunk for chunk, _ in chunks))
        new = {chunk: raw for chunk, raw in chunks if chunk in absent}
        if new:
            self._place(self._context.encoders.encode(list(new.items())), group)

    def put_encoded(
        self, chunks: Sequence[EncodedChunk], group: int | None = None, places: Mapping[Hash, int] | None = None
    ) -> list[bytes | memoryview]:
        raws = [decode(chunk) for chunk in chunks]
        absent = set(self.missing(chunk.hash for chunk in chunks))
        if places is None:
            new = {chunk.hash: chunk for chunk in chunks if chunk.hash in absent}
        else:
            raw_forms = (
                EncodedChunk(chunk.hash, Codec.RAW, len(raw), raw) for chunk, raw in zip(chunks, raws, strict=True)
            )
            new = {chunk.hash: chunk for chunk in raw_forms if chunk.hash in absent}
        if new:
            self._place(list(new.values()), group, places)
        return raws

    def held(self) -> list[Hash]:
        with self._lock:
            return [*self._session.placed, *self._session.pending]

    def missing(self, hashes: Iterable[Hash]) -> list[Hash]:
        unique = list(dict.fromkeys(hashes))
        with self._session.seen_lock:
            absent = self._context.absent(unique, [self._session])
            if len(absent) == len(unique):
                return absent
            gone = set(absent)
            condemned = self._context.claims.condemned_among([chunk for chunk in unique if chunk not in gone])
            if condemned:
                gone |= self._context.revive(condemned)
            self._session.saw(chunk for chunk in unique if chunk not in gone)
        return [chunk for chunk in unique if chunk in gone]

    def commit(self, pin: Pin | None = None) -> None:
        with self._lock:
            self._require_open()
            self._inline_a_small_session()
            shared = [self._shared] if self._shared is not None else []
            self._land([*shared, *self._others, *self._groups.values()])
            self._publish([], list(self._session.pending.values()), pin=pin)
            self._forget_pending()

    def statistics(self) -> Tallied:
        return Tallied(self._chunks, self._raw_bytes, self._stored_bytes)

    def close(self) -> None:
        """Ends the lease. What was not committed is dropped, or with a key kept for the next session of that key."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._context.leave(self._session)
            for appender in self._appenders():
                self._context.files.take_back(appender.file_id)
            try:
                if self._staging is not None:
                    with suppress(ForgeError):  # a collector removes what is left
                        self._staging.close(keep=self._key is not None)
            finally:
                self._session.end()

    def _require_open(self) -> None:
        if self._closed:
            raise StoreError("this ingest has ended", hint="open another one")

    def _appenders(self) -> list[Appender]:
        return [*([self._shared] if self._shared else []), *self._others, *self._groups.values()]

    def _resume(self, key: Hash) -> None:
        adopt(self._context, key[0])
        self._staging = Staging(self._context.layout, key)
        for appender in self._staging.resume():
            self._adopt(appender)
            if appender.shared and self._shared is None:
                self._shared = appender
            else:
                self._others.append(appender)

    def _adopt(self, appender: Appender) -> None:
        self._context.files.lend(appender.file_id, appender.file)
        self._session.placed.update(appender.entries)

    def _place(self, chunks: list[EncodedChunk], group: int | None, places: Mapping[Hash, int] | None = None) -> None:
        self._room.take(sum(len(chunk.data) for chunk in chunks))
        with self._lock:
            self._require_open()
            chunks = [chunk for chunk in chunks if chunk.hash not in self._session]
            self._count(chunks)
            if group is not None:
                stored = sum(len(chunk.data) for chunk in chunks)
                appender = self._appender_of(group, stored, laid_out=places is not None)
                if appender is not None and (places is not None or not appender.laid_out):
                    self._append(appender, chunks, places)
                    return  # what has no place would take that of something else
            if self._shared is None and self._key is None:
                chunks = self._keep_small(chunks)
            if chunks:
                self._append(self._shared_appender(), chunks)

    def _count(self, chunks: list[EncodedChunk]) -> None:
        self._chunks += len(chunks)
        self._raw_bytes += sum(chunk.size for chunk in chunks)
        self._stored_bytes += sum(len(chunk.data) for chunk in chunks)

    def _keep_small(self, chunks: list[EncodedChunk]) -> list[EncodedChunk]:
        """Keeps small chunks in memory while the session is small; returns what has to be written."""
        rest = []
        pending = self._session.pending
        for chunk in chunks:
            if len(chunk.data) > INLINE_MAX:
                rest.append(chunk)
                continue
            owned = chunk.data if isinstance(chunk.data, bytes) else bytes(chunk.data)
            pending[chunk.hash] = EncodedChunk(chunk.hash, chunk.codec, chunk.size, owned)
            self._pending_bytes += len(owned)
        if self._pending_bytes > INLINE_SESSION_MAX:
            self._append(self._shared_appender(), list(pending.values()))
            self._forget_pending()
        return rest

    def _forget_pending(self) -> None:
        self._session.pending.clear()
        self._pending_bytes = 0

    def _appender_of(self, group: int, stored: int, *, laid_out: bool) -> Appender | None:
        """The group's own data file; `None` while the group is small, unless it is laid out."""
        appender = self._groups.get(group)
        if appender is None:
            total = self._group_bytes.get(group, 0) + stored
            if total < OWN_FILE_FROM and not laid_out:
                self._group_bytes[group] = total
                return None
            if len(self._groups) >= _OPEN_GROUPS:
                self._land(list(self._groups.values())[: _OPEN_GROUPS // 2])
            appender = self._groups[group] = self._new_appender(shared=False, laid_out=laid_out)
        self._groups.move_to_end(group)
        return appender

    def _shared_appender(self) -> Appender:
        if self._shared is None:
            self._shared = self._new_appender(shared=True)
        return self._shared

    def _new_appender(self, *, shared: bool, laid_out: bool = False) -> Appender:
        if self._staging is None:
            self._staging = Staging(self._context.layout, self._key)
        appender = self._staging.new_appender(shared=shared, laid_out=laid_out)
        self._context.files.lend(appender.file_id, appender.file)
        return appender

    def _append(self, appender: Appender, chunks: list[EncodedChunk], places: Mapping[Hash, int] | None = None) -> None:
        if places is not None and appender.laid_out:
            self._session.placed.update(appender.lay(chunks, places))
            full = len(appender.entries) >= _LAID_OUT_ENTRIES_MAX  # in one piece, or it could not be given out as one
        else:
            self._session.placed.update(appender.append(chunks))
            most = _SHARED_MAX if appender.shared else _FILE_MAX
            full = appender.size >= most or len(appender.entries) >= _ENTRIES_MAX
        if full:
            self._land([appender])

    def _inline_a_small_session(self) -> None:
        """Turns a small shared file of a session with a key into pending chunks."""
        shared = self._shared
        if shared is None or shared.size > INLINE_SESSION_MAX:
            return
        if any(where.stored > INLINE_MAX for _, where in shared.entries):
            return
        data = memoryview(shared.read())
        for chunk, where in shared.entries:
            stored = bytes(data[where.offset : where.offset + where.stored])
            encoded = EncodedChunk(chunk, CODECS[where.codec], where.size, stored)
            decode(encoded)
            self._session.pending[chunk] = encoded
        self._publish([], list(self._session.pending.values()))
        self._forget(shared)
        shared.discard()
        self._forget_pending()

    def _land(self, appenders: list[Appender]) -> None:
        """Makes data files durable and known, then forgets them."""
        filled = [appender for appender in appenders if appender.entries]
        if not filled:
            return
        layout = self._context.layout
        files = [NewFile(a.file_id, a.size, a.entries) for a in filled]
        try:
            prepare(layout, filled)
            self._publish(files, [], partial(place, layout, filled))
        except DiskError:
            self._drop_broken(filled)
            raise
        for appender in filled:
            self._forget(appender)

    def _drop_broken(self, appenders: list[Appender]) -> None:
        """A file whose sync has failed is given up: its chunks count as never put."""
        for appender in appenders:
            if appender.broken:
                self._forget(appender)
                with suppress(ForgeError):
                    appender.discard()

    def _publish(
        self,
        files: list[NewFile],
        inline: list[EncodedChunk],
        place_files: Callable[[], None] = lambda: None,
        pin: Pin | None = None,
    ) -> None:
        """Makes chunks known to all. The session goes on relying on them: nothing has pinned them yet."""
        with self._session.seen_lock:
            self._context.publish(files, inline, place_files, pin)
            self._session.saw(chunk for file in files for chunk, _ in file.entries)
            self._session.saw(chunk.hash for chunk in inline)
        self._room.landed()

    def _forget(self, appender: Appender) -> None:
        for chunk, where in appender.entries:
            if self._session.placed.get(chunk) is where:
                del self._session.placed[chunk]
        self._context.files.take_back(appender.file_id)
        if self._shared is appender:
            self._shared = None
        self._others = [other for other in self._others if other is not appender]
        self._groups = OrderedDict((group, other) for group, other in self._groups.items() if other is not appender)
