"""The private networks that a node is in, on disk: one folder each, readable by its owner only.

    HOME/networks/ID/network       name, secret, own chain, where to begin, and the network's key where it was made
    HOME/networks/ID/revocations   every revocation known
    HOME/networks/ID/issued        tokens issued here
    HOME/networks/ID/roster        members heard of
    HOME/networks/ID/held/         what belongs to the network (`holdings`)
    HOME/networks/ID/table         the DHT's routing table (`lookups`)
    HOME/networks/ID/contacts      whom this node was connected with last (`remembering`)

Each file is replaced as a whole, so any process may read at any time; who changes one holds a lock, so that nothing
that two write at once is lost. A running node looks for changes now and then. A network joined by FORGE_TOKEN is in
memory alone.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from forge_p2p.content.contact import Contact, Packed, pack_contact, unpack_contact
from forge_p2p.content.invite import Token, enrol, name_fits, parse_token
from forge_p2p.content.membership import (
    Chain,
    Membership,
    NotAMember,
    decode_chain,
    encode_chain,
    membership_by,
    require_current,
)
from forge_p2p.content.revocation import Revocation, decode_revocation
from forge_p2p.errors import ForgeError, Malformed, StoreError, UsageError
from forge_p2p.ids import NetworkId, NodeId
from forge_p2p.node.home import Home, unwritable
from forge_p2p.node.records import stamp_of, write_record
from forge_p2p.proto.revocations import RevocationSet
from forge_p2p.writeback import sync_folder

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_SEPARATORS = frozenset("/@")
"""What NETWORK/NAME@SEQ is put together with."""


class _Record(msgspec.Struct, frozen=True, array_like=True):
    """The file `network`."""

    network: bytes
    name: str
    secret: bytes
    chain: bytes
    contacts: list[Packed]
    key: bytes
    joined: float


class Issued(msgspec.Struct, frozen=True):
    """A token issued here. `id`: its public key in hex; times in Unix seconds, 0 = never."""

    id: str
    role: str
    label: str
    issued: float
    expires: float


@dataclass(frozen=True, slots=True)
class Joined:
    """A network that this node is in. `seed`: the network's private key, where it was made; `folder`: `None` for one
    that is in memory alone."""

    network: NetworkId
    name: str
    chain: Chain
    contacts: tuple[Contact, ...]
    folder: Path | None
    secret: bytes = field(repr=False)
    seed: bytes = field(repr=False)

    @property
    def membership(self) -> Membership:
        """What this node is in it, by its own chain, unverified."""
        return membership_by(self.chain)

    @property
    def key(self) -> "Ed25519PrivateKey | None":
        """The network's own key, where it was made."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self.seed) if self.seed else None


class Networks:
    """Those of one node's folder, and the one of `token` (FORGE_TOKEN's text, empty for none)."""

    def __init__(self, home: Home, node_id: NodeId, token: str = "") -> None:
        self._folder = home.networks
        self._home = home
        self._guest = _guest(token, node_id) if token else None

    @classmethod
    def on_disk(cls, home: Home) -> Self:
        """Those of the folder, for who does not know which node this is: only a guest's token would need that."""
        return cls(home, NodeId(bytes(32)))

    def all(self) -> list[Joined]:
        """Every network, by name. Blocks. Raises `StoreError` naming a record that cannot be read."""
        try:
            names = sorted(os.listdir(self._folder))
        except FileNotFoundError:
            names = []
        found = [self._read(self._folder / name) for name in names if not name.startswith(".")]
        joined = {each.network: each for each in found if each is not None}
        guest = self._guest
        if guest is not None and (guest.network not in joined or not self._is_current(joined[guest.network])):
            joined[guest.network] = guest
        return sorted(joined.values(), key=lambda each: each.name)

    def _is_current(self, joined: Joined) -> bool:
        try:
            require_current(joined.chain, time.time(), self.revocation_set(joined.network))
        except NotAMember:
            return False
        return True

    def named(self, name: str) -> Joined:
        """The network of this name, or whose id begins with it; without a name the only one. Raises `UsageError`."""
        joined = self.all()
        if not joined:
            raise UsageError("this node is in no network", hint="forge network create NAME or forge network join TOKEN")
        matching = [each for each in joined if not name or each.name == name]
        if not matching and len(name) >= 4:
            matching = [each for each in joined if each.network.hex().startswith(name)]
        if len(matching) == 1:
            return matching[0]
        names = ", ".join(each.name for each in joined)
        problem = "this node is in several networks" if matching else f"this node is in no network {name!r}"
        raise UsageError(problem, hint=f"{'say which with --network' if matching else 'it is in'}: {names}")

    def folder(self, network: NetworkId) -> Path:
        """Where a network's records are."""
        return self._folder / network.hex()

    def held_folder(self, network: NetworkId) -> Path | None:
        """Where the records of what belongs to a network are; `None` if it is in memory alone."""
        return self.folder(network) / "held" if self._is_here(network) else None

    def table(self, network: NetworkId) -> Path | None:
        """Where a network's routing table is kept."""
        return self.folder(network) / "table" if self._is_here(network) else None

    def contacts(self, network: NetworkId) -> Path | None:
        """Where it is kept whom this node was connected with."""
        return self.folder(network) / "contacts" if self._is_here(network) else None

    def add(self, joined: Joined) -> None:
        """Writes a network down. Raises `UsageError` when there is another of that name, `DiskError`."""
        if not name_fits(joined.name) or not _SEPARATORS.isdisjoint(joined.name):
            hint = "1 to 64 printable characters, neither / nor @; forge network join --as gives one a name of your own"
            raise UsageError(f"a network cannot be called {joined.name!r}", hint=hint)
        record = _Record(
            joined.network,
            joined.name,
            joined.secret,
            encode_chain(joined.chain),
            [pack_contact(contact) for contact in joined.contacts],
            joined.seed,
            time.time(),
        )
        with self._locked():
            if any(other.name == joined.name and other.network != joined.network for other in self.all()):
                raise UsageError(
                    f"this node is in a network called {joined.name!r} already",
                    hint="forge network list shows it; forge network join --as NAME calls the new one otherwise",
                )
            self._write(joined.network, "network", msgspec.msgpack.encode(record))

    def remove(self, joined: Joined) -> None:
        """Forgets a network and its secret. Raises `UsageError` for one in memory alone, `DiskError`."""
        if joined.folder is None:
            raise UsageError("this network was joined by FORGE_TOKEN", hint="unset FORGE_TOKEN to be out of it")
        with self._locked():
            try:
                gone = self._folder / f".{os.urandom(4).hex()}"
                joined.folder.rename(gone)
                shutil.rmtree(gone)
                sync_folder(self._folder)
            except OSError as error:
                raise unwritable(f"the folder of the network, {joined.folder}", error) from error

    # What is known of a network

    def revocations(self, network: NetworkId) -> list[Revocation]:
        """Those written down. Raises `StoreError`: without them somebody revoked would be let in."""
        path = self.folder(network) / "revocations"
        try:
            rows = msgspec.msgpack.decode(path.read_bytes(), type=list[bytes])
            return [decode_revocation(each) for each in rows]
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError, Malformed) as error:
            raise _unreadable(path, error) from error

    def revocation_set(self, network: NetworkId) -> RevocationSet:
        """The same, each one verified. Raises `StoreError`."""
        known = RevocationSet(network)
        try:
            for revocation in self.revocations(network):
                known.merge(revocation)
        except NotAMember as error:
            raise _unreadable(self.folder(network) / "revocations", error) from error
        return known

    def keep_revocations(self, network: NetworkId, revocations: Iterable[Revocation]) -> RevocationSet:
        """Adds to those written down; they outlive a crash. What is written down then, which may lack some of them:
        those that are void. Raises `NotAMember` at one whose signer had no right, `StoreError`, `DiskError`."""
        with self._locked():
            known = self.revocation_set(network)
            fresh = [known.merge(revocation) for revocation in revocations]
            if any(fresh) and self._is_here(network):
                self._write(network, "revocations", msgspec.msgpack.encode([each.encode() for each in known]))
        return known

    def issued(self, network: NetworkId) -> list[Issued]:
        """Tokens issued here, oldest first."""
        try:
            content = (self.folder(network) / "issued").read_bytes()
            return msgspec.json.decode(content, type=list[Issued])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError) as error:
            raise _unreadable(self.folder(network) / "issued", error) from error

    def keep_issued(self, network: NetworkId, issued: Issued) -> None:
        """Writes one more down, unless the network is in memory alone. Raises `StoreError`, `DiskError`."""
        with self._locked():
            if self._is_here(network):
                self._write(network, "issued", msgspec.json.encode([*self.issued(network), issued]))

    def roster(self, network: NetworkId) -> list[tuple[Chain, float]]:
        """Members heard of, and when last. Nothing when the file is damaged: it is a convenience."""
        try:
            content = (self.folder(network) / "roster").read_bytes()
            rows = msgspec.msgpack.decode(content, type=list[tuple[bytes, float]])
            return [(decode_chain(chain), seen) for chain, seen in rows if chain]
        except (OSError, msgspec.DecodeError, Malformed):
            return []

    def keep_roster(self, network: NetworkId, roster: Sequence[tuple[Chain, float]]) -> None:
        """Writes it down, if there is room."""
        content = msgspec.msgpack.encode([(encode_chain(chain), seen) for chain, seen in roster])
        with suppress(OSError, ForgeError), self._locked():
            if self._is_here(network):
                write_record(self.folder(network) / "roster", content, durable=False)

    def stamp(self) -> tuple[int, ...]:
        """Changes whenever any process adds or removes a network, revokes somebody, or changes what a network holds.
        As `stamp_of`."""
        paths = [self._folder]
        try:
            names = sorted(name for name in os.listdir(self._folder) if not name.startswith("."))
        except FileNotFoundError:
            names = []
        for name in names:
            paths += [self._folder / name / record for record in ("network", "revocations", "held")]
        return stamp_of(paths)

    def _is_here(self, network: NetworkId) -> bool:
        """Whether the network is on disk; it may have been left a moment ago."""
        return (self.folder(network) / "network").exists()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keeps other processes and threads from changing a record meanwhile. Raises `DiskError`."""
        self._home.create()
        path = self._folder / ".lock"
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise unwritable(str(path), error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _read(self, folder: Path) -> Joined | None:
        try:
            record = msgspec.msgpack.decode((folder / "network").read_bytes(), type=_Record)
            contacts = tuple(unpack_contact(node_id, addresses) for node_id, addresses in record.contacts)
            return Joined(
                NetworkId(record.network),
                record.name,
                decode_chain(record.chain),
                contacts,
                folder,
                record.secret,
                record.key,
            )
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, Malformed) as error:
            raise _unreadable(folder / "network", error) from error

    def _write(self, network: NetworkId, name: str, content: bytes) -> None:
        path = self.folder(network) / name
        try:
            write_record(path, content)
        except OSError as error:
            raise unwritable(str(path), error) from error


def joined_by(token: Token, node_id: NodeId, folder: Path | None, label: str = "") -> Joined:
    """What `token` makes of this node. Raises `NotAMember` for one that is not good now."""
    chain = enrol(token, node_id, time.time(), label)
    return Joined(token.network, token.name, chain, token.contacts, folder, token.secret, b"")


def _guest(text: str, node_id: NodeId) -> Joined:
    try:
        return joined_by(parse_token(text), node_id, None)
    except ForgeError as error:
        error.message = f"FORGE_TOKEN: {error.message}"
        raise


def _unreadable(path: Path, error: Exception) -> StoreError:
    return StoreError(
        f"cannot read {path}: {error}", hint="restore it from a backup, or leave the network and join again"
    )
