"""Copies of names' records in a bucket that is not their home, so that a seed can be made anew from the bucket alone.

    mirrors/NETWORK/NAME/SEQ-HASH      the record's bytes

NETWORK, NAME and SEQ as in `bucket.reflog`, HASH is the BLAKE3-256 of the record's bytes in hex. So nobody can be first
under the key of a record: whatever else somebody puts there lies beside the right one. These copies decide nothing:
records are put at the home, which is elsewhere, and whoever reads has to verify what comes."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from forge_p2p.bucket.base import REFS, Bucket, Meta, seq_of, step_key
from forge_p2p.bucket.reflog import escaped, unescaped
from forge_p2p.content.ref import RECORD_BYTES_MAX, RefRecord, decode_record
from forge_p2p.errors import Malformed, NoSuchObject
from forge_p2p.ids import NetworkId
from forge_p2p.proto.reassembly import Found

MIRRORS: Final = "mirrors/"

AT_ONCE: Final = 16
"""Records that are read or written at the same time."""


class Mirrors:
    """Those of one network. Everything blocks. Raises `BucketError` and its kinds."""

    def __init__(self, bucket: Bucket, network: NetworkId) -> None:
        self._bucket = bucket
        self._network = network

    def keep(self, records: Sequence[RefRecord]) -> int:
        """Copies what is not there of a log, all of whose records are given in order; how many these were. Costs one
        request when nothing is new: the newest record is written last, so where it is the others are."""
        if not records or self._bucket.head(self._key(records[-1])) is not None:
            return 0
        there = {meta.key for meta in self._bucket.list(f"{MIRRORS}{self._network.hex()}/{escaped(records[0].name)}/")}
        lacking = [record for record in records[:-1] if self._key(record) not in there]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            written = sum(pool.map(self._write, lacking))
        return written + self._write(records[-1])

    def found(self) -> Iterator[tuple[str, list[Found], list[str]]]:
        """Every name, the records that lie under it here or where the bucket is its home, and what is there and is no
        record, a line each."""
        for escaped_name, metas in sorted(self._objects().items()):
            try:
                name = unescaped(escaped_name)
            except Malformed as error:
                yield escaped_name, [], [error.message]
                continue
            with ThreadPoolExecutor(AT_ONCE) as pool:
                read = list(pool.map(self._read, metas))
            records = [each for each in read if isinstance(each, Found)]
            yield name, records, [each for each in read if isinstance(each, str)]

    def _write(self, record: RefRecord) -> bool:
        return self._bucket.put_if_absent(self._key(record), record.encode())

    def _key(self, record: RefRecord) -> str:
        folder = f"{MIRRORS}{self._network.hex()}/{escaped(record.name)}/"
        return f"{step_key(folder, record.seq)}-{record.hash.hex()}"

    def _objects(self) -> dict[str, list[Meta]]:
        """What lies under each name, as its key writes that."""
        found: dict[str, list[Meta]] = defaultdict(list)
        for space in (MIRRORS, REFS):
            folder = f"{space}{self._network.hex()}/"
            for meta in self._bucket.list(folder):
                found[meta.key.removeprefix(folder).rpartition("/")[0]].append(meta)
        return found

    def _read(self, meta: Meta) -> Found | str:
        """A record, or why there is none. What its key says of it does not count."""
        if meta.size > RECORD_BYTES_MAX:
            return f"{meta.key}: {meta.size} bytes are no record"
        try:
            return Found(meta.key, decode_record(self._bucket.get(meta.key)))
        except (Malformed, NoSuchObject) as error:
            return f"{meta.key}: {error.message}"


def at_home(bucket: Bucket, network: NetworkId, name: str) -> set[int]:
    """The records of a name that lie in the bucket as in their home."""
    folder = f"{REFS}{network.hex()}/{escaped(name)}/"
    return {seq_of(meta.key) for meta in bucket.list(folder)}
