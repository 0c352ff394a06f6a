"""The logs of one network's names in a bucket: a record an object, put if absent.

    names/NETWORK/NAME           empty; says that there may be a log
    refs/NETWORK/NAME/SEQ        the record's bytes

NETWORK is hex. In NAME every byte of the name's UTF-8 but letters, digits, hyphens, dots and underscores is written as
`=` and two hex digits. All of it is read from the bucket itself, never through a CDN. A bucket decides about order and
about nothing else: whoever reads has to verify what comes."""

import re
from collections.abc import Sequence
from typing import Final

from forge_p2p.bucket.base import REFS, Bucket, seq_of, step_key
from forge_p2p.content.ref import NOTHING, BadRef, RefFlaw, RefRecord, decode_record, verify_step
from forge_p2p.errors import Malformed, NoSuchObject
from forge_p2p.ids import NetworkId
from forge_p2p.proto.reflog import Exists, Stored, Tip

NAMES: Final = "names/"

_PLAIN = re.compile(rb"[A-Za-z0-9._-]")


class BucketLog:
    """As `proto.reflog.RefLog`. Everything blocks. Raises `BucketError` and its kinds, `BadRef`, `Malformed`."""

    def __init__(self, bucket: Bucket, network: NetworkId) -> None:
        self._bucket = bucket
        self._network = network

    def put_if_absent(self, record: RefRecord) -> Stored | Exists:
        """Adds a record after the one that it names. Raises `BadRef` if that is not there."""
        existing = self._read(record.name, record.seq)
        if existing is None:
            previous = self._read(record.name, record.seq - 1) if record.seq > 1 else None
            if record.seq > 1 and previous is None:
                raise BadRef(
                    RefFlaw.DOES_NOT_FOLLOW,
                    f"record {record.seq} of {record.name!r} follows nothing that is in {self._bucket.where}",
                )
            verify_step(record, previous)
            if self._write(record):
                return Stored()
            existing = self._read(record.name, record.seq)
        if existing is None:
            raise Malformed(f"record {record.seq} of {record.name!r} is in {self._bucket.where} and cannot be read")
        return Stored() if existing == record else Exists(existing)

    def fill(self, records: Sequence[RefRecord]) -> None:
        """Copies what came before: the whole log so far of a name that has moved here."""
        for record in records:
            self._write(record)

    def _write(self, record: RefRecord) -> bool:
        if record.seq == 1:
            self._bucket.put_if_absent(f"{NAMES}{self._network.hex()}/{escaped(record.name)}", b"")
        return self._bucket.put_if_absent(self._key(record.name, record.seq), record.encode())

    def since(self, name: str, from_seq: int, count: int) -> tuple[Tip, list[RefRecord]]:
        """Where the log ends, and up to `count` records from a number on. Costs a list from the record before that, and
        a read for each record that came since."""
        known = max(from_seq - 2, 0)
        seqs = self._seqs(name, known) or (self._seqs(name, 0) if known else [])
        if not seqs:
            return Tip(0, NOTHING), []
        last = self._needed(name, seqs[-1])
        found = [self._needed(name, seq) for seq in seqs if seq >= from_seq][:count] if count else []
        return Tip(last.seq, last.hash), found

    def head(self, name: str) -> RefRecord | None:
        """The newest record."""
        seqs = self._seqs(name, 0)
        return self._needed(name, seqs[-1]) if seqs else None

    def names(self, after: str, count: int) -> list[str]:
        """Up to `count` names after this one, in the order of their bytes."""
        folder = f"{NAMES}{self._network.hex()}/"
        found = [unescaped(meta.key.removeprefix(folder)) for meta in self._bucket.list(folder)]
        ordered = sorted((name for name in found if name.encode() > after.encode()), key=str.encode)
        return [name for name in ordered if self._bucket.head(self._key(name, 1)) is not None][:count]

    def _seqs(self, name: str, after: int) -> list[int]:
        """The numbers of the records after one; what else lies there, as file managers leave it, is none."""
        folder = self._folder(name)
        found = self._bucket.list(folder, step_key(folder, after) if after else "")
        return [seq for meta in found if (seq := seq_of(meta.key)) and meta.key == step_key(folder, seq)]

    def _needed(self, name: str, seq: int) -> RefRecord:
        found = self._read(name, seq)
        if found is None:
            raise NoSuchObject(f"record {seq} of {name!r} has gone from {self._bucket.where}")
        return found

    def _read(self, name: str, seq: int) -> RefRecord | None:
        try:
            return decode_record(self._bucket.get(self._key(name, seq)))
        except NoSuchObject:
            return None
        except Malformed as error:
            raise Malformed(f"record {seq} of {name!r} in {self._bucket.where} cannot be read: {error}") from error

    def _folder(self, name: str) -> str:
        return f"{REFS}{self._network.hex()}/{escaped(name)}/"

    def _key(self, name: str, seq: int) -> str:
        return step_key(self._folder(name), seq)


def escaped(name: str) -> str:
    """A name as one part of a key."""
    letters = (bytes([byte]) for byte in name.encode())
    return "".join(letter.decode() if _PLAIN.match(letter) else f"={letter[0]:02X}" for letter in letters)


def unescaped(text: str) -> str:
    """The name that `escaped` made `text` of. Raises `Malformed`."""
    try:
        plain = re.sub(rb"=([0-9A-F]{2})", lambda found: bytes.fromhex(found[1].decode()), text.encode())
        return plain.decode()
    except ValueError as error:
        raise Malformed(f"{text!r} is no name of a log in a bucket") from error
