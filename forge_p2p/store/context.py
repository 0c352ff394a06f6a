"""What the parts of a disk store share, and where a chunk is looked up."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from forge_p2p.config import StoreConfig
from forge_p2p.content.codec import EncodedChunk
from forge_p2p.ids import Hash
from forge_p2p.store.base import Heal, Pin
from forge_p2p.store.claims import Claims
from forge_p2p.store.datafiles import DataFiles
from forge_p2p.store.encoding import Encoders
from forge_p2p.store.environment import Transaction
from forge_p2p.store.index import Entry, Index
from forge_p2p.store.layout import Layout
from forge_p2p.store.pins import put_pin
from forge_p2p.store.session import Found, Session


@dataclass(frozen=True, slots=True)
class NewFile:
    """A data file whose content is durable, to be made known."""

    file_id: int
    size: int
    entries: Sequence[Entry]


@dataclass(slots=True)
class Context:
    """One open disk store. Everything in it is safe from any thread."""

    layout: Layout
    config: StoreConfig
    claims: Claims
    index: Index
    files: DataFiles
    heal: Heal | None
    encoders: Encoders = field(default_factory=Encoders)
    sessions: tuple[Session, ...] = ()
    """Of the ingests that this process runs on this store."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, session: Session) -> None:
        with self.lock:
            self.sessions = (*self.sessions, session)

    def leave(self, session: Session) -> None:
        with self.lock:
            self.sessions = tuple(other for other in self.sessions if other is not session)

    def locate(self, hashes: Sequence[Hash]) -> list[Found | None]:
        """Where each chunk is. What is arriving first: it leaves there only after it has come to the databases."""
        found: list[Found | None] = [None] * len(hashes)
        if self.sessions:
            found = [self._arrived(chunk) for chunk in hashes]
        rest = [at for at, where in enumerate(found) if where is None]
        for at, where in zip(rest, self.index.find([hashes[at] for at in rest]), strict=True):
            found[at] = where
        rest = [at for at in rest if found[at] is None]
        if rest:
            inline = self.claims.find([hashes[at] for at in rest])
            for at in rest:
                found[at] = inline.get(hashes[at])
        return found

    def absent(self, hashes: Sequence[Hash], sessions: Sequence[Session]) -> list[Hash]:
        """Those that are neither stored nor arriving in one of `sessions`, in order."""
        rest = hashes
        for session in sessions:
            rest = [chunk for chunk in rest if chunk not in session]
        rest = self.index.absent(rest)
        return self.claims.absent(rest) if rest else []

    def _arrived(self, chunk: Hash) -> Found | None:
        for session in self.sessions:
            where = session.get(chunk)
            if where is not None:
                return where
        return None

    def publish(
        self,
        files: Sequence[NewFile],
        inline: Sequence[EncodedChunk],
        place_files: Callable[[], None],
        pin: Pin | None = None,
    ) -> None:
        """Makes new data files, which `place_files` moves to their place, and inline chunks known, durably, and sets
        `pin` with that. The one way in."""
        hashes = [chunk for file in files for chunk, _ in file.entries]
        needed = sum(len(chunk.data) for chunk in inline) + 128 * len(hashes)

        def work(transaction: Transaction) -> None:
            place_files()
            self.claims.absolve(transaction, hashes)
            self.claims.absolve(transaction, [chunk.hash for chunk in inline])
            if files:
                new = [(file, self.claims.not_inline(transaction, file.entries)) for file in files]
                self.index.environment.write(partial(self._publish_files, new), needed)
            if inline:
                sliced = self.index.find([chunk.hash for chunk in inline])
                rest = [chunk for chunk, where in zip(inline, sliced, strict=True) if where is None]
                self.claims.put_inline(transaction, rest)
            if pin is not None:
                put_pin(self.claims, transaction, pin)

        self.claims.environment.write(work, needed)

    def _publish_files(self, files: Sequence[tuple[NewFile, Sequence[Entry]]], transaction: Transaction) -> None:
        now = time.time()
        for file, entries in files:
            self.index.publish(transaction, file.file_id, file.size, entries, now)

    def revive(self, hashes: Iterable[Hash]) -> set[Hash]:
        """Takes condemned chunks back; returns those that were deleted meanwhile."""
        chunks = list(hashes)

        def work(transaction: Transaction) -> set[Hash]:
            gone = set(self.index.absent(chunks))
            gone = {chunk for chunk in gone if transaction.get(chunk, db=self.claims.inline) is None}
            for chunk in chunks:
                transaction.delete(chunk, db=self.claims.condemned)
            return gone

        return self.claims.environment.write(work)
