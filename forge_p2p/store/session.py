"""What a running ingest shows to the rest of its process: its lease, what it has seen, what has arrived.

A collector of the same process need not wait for the ingest's end: it asks which condemned chunks the ingest has seen,
takes these back, and lets the lease begin anew. For that the ingest remembers 8 bytes of every hash it relies on; two
hashes that share these only keep a chunk too many.
"""

import threading
from array import array
from collections.abc import Iterable

from forge_p2p.content.codec import EncodedChunk
from forge_p2p.ids import Hash
from forge_p2p.store.claims import Claims
from forge_p2p.store.environment import Transaction
from forge_p2p.store.leases import Lease
from forge_p2p.store.records import Inline, Slice

Found = Slice | Inline | EncodedChunk
"""In a data file, in the database, or still in the memory of an ingest."""

_PREFIX = 8


class Session:
    """The public side of one ingest. `seen_lock` is held from looking a chunk up until it is remembered as seen."""

    __slots__ = ("_seen", "ended", "lease", "pending", "placed", "seen_lock")

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.ended = False
        self.placed: dict[Hash, Slice] = {}
        self.pending: dict[Hash, EncodedChunk] = {}
        self.seen_lock = threading.Lock()
        self._seen = array("Q")

    def get(self, chunk: Hash) -> Found | None:
        return self.placed.get(chunk) or self.pending.get(chunk)

    def __contains__(self, chunk: Hash) -> bool:
        return chunk in self.placed or chunk in self.pending

    def saw(self, chunks: Iterable[Hash]) -> None:
        """From now on the ingest relies on these. The caller holds `seen_lock`."""
        self._seen.frombytes(b"".join([chunk[:_PREFIX] for chunk in chunks]))

    def end(self) -> None:
        """Gives the lease up."""
        with self.seen_lock:
            self.ended = True
            self.lease.release()

    def renew(self, claims: Claims) -> None:
        """Takes back what is condemned and was seen; then the lease is as one that begins now."""
        with self.seen_lock:
            if self.ended:
                return
            seen = set(self._seen)

            def work(transaction: Transaction) -> int:
                for chunk in claims.all_condemned(transaction):
                    if int.from_bytes(chunk[:_PREFIX], "little") in seen:
                        transaction.delete(chunk, db=claims.condemned)
                return claims.epoch_in(transaction)

            self.lease.restart(claims.environment.write(work))
