"""The private networks that a node is in, on disk: one folder each, readable by its owner only.

    HOME/networks/ID/network       name, secret, own chain, where to begin, and the network's key where it was made
    HOME/networks/ID/revocations   every revocation known
    HOME/networks/ID/issued        tokens issued here
    HOME/networks/ID/roster        members heard of
    HOME/networks/ID/held/         what belongs to the network (`holdings`)
    HOME/networks/ID/table         the DHT's routing table (`lookups`)

Each file is replaced as a whole, so any process may read at any time; a running node looks for changes now and then. A
network joined by FORGE_TOKEN is in memory alone.
"""

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from forge_p2p.content.contact import Contact, Packed, pack_contact, unpack_contact
from forge_p2p.content.invite import Token, enrol, name_fits, parse_token
from forge_p2p.content.membership import Chain, Membership, decode_chain, encode_chain, membership_by
from forge_p2p.content.revocation import Revocation, decode_revocation
from forge_p2p.errors import ForgeError, Malformed, StoreError, UsageError
from forge_p2p.ids import NetworkId, NodeId
from forge_p2p.node.home import Home, unwritable
from forge_p2p.node.records import sync_folder, write_record

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


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
        self._folder = home.path / "networks"
        self._home = home
        self._guest = _guest(token, node_id) if token else None

    def all(self) -> list[Joined]:
        """Every network, by name. Blocks. Raises `StoreError` naming a record that cannot be read."""
        try:
            names = sorted(os.listdir(self._folder))
        except FileNotFoundError:
            names = []
        found = [self._read(self._folder / name) for name in names if not name.startswith(".")]
        joined = [each for each in found if each is not None]
        if self._guest is not None and all(each.network != self._guest.network for each in joined):
            joined.append(self._guest)
        return sorted(joined, key=lambda each: each.name)

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
        raise UsageError(problem, hint=f"say which with --network: {names}")

    def folder(self, network: NetworkId) -> Path:
        """Where a network's records are."""
        return self._folder / network.hex()

    def held_folder(self, network: NetworkId) -> Path | None:
        """Where the records of what belongs to a network are; `None` if it is in memory alone."""
        return self.folder(network) / "held" if (self.folder(network) / "network").exists() else None

    def table(self, network: NetworkId) -> Path | None:
        """Where a network's routing table is kept."""
        return self.folder(network) / "table" if (self.folder(network) / "network").exists() else None

    def add(self, joined: Joined) -> None:
        """Writes a network down. Raises `UsageError` when there is another of that name, `DiskError`."""
        if not name_fits(joined.name):
            raise UsageError(f"a network cannot be called {joined.name!r}", hint="1 to 64 printable characters")
        for other in self.all():
            if other.name == joined.name and other.network != joined.network:
                raise UsageError(
                    f"this node is in a network called {joined.name!r} already", hint="forge network list shows it"
                )
        record = _Record(
            joined.network,
            joined.name,
            joined.secret,
            encode_chain(joined.chain),
            [pack_contact(contact) for contact in joined.contacts],
            joined.seed,
            time.time(),
        )
        self._home.create()
        self._write(joined.network, "network", msgspec.msgpack.encode(record))

    def remove(self, joined: Joined) -> None:
        """Forgets a network and its secret. Raises `UsageError` for one in memory alone, `DiskError`."""
        if joined.folder is None:
            raise UsageError("this network was joined by FORGE_TOKEN", hint="unset FORGE_TOKEN to be out of it")
        try:
            (joined.folder / "network").unlink()
            shutil.rmtree(joined.folder)
            sync_folder(self._folder)
        except OSError as error:
            raise unwritable(f"the folder of the network, {joined.folder}", error) from error

    # What is known of a network

    def revocations(self, network: NetworkId) -> list[Revocation]:
        """Those written down. Raises `StoreError`: without them somebody revoked would be let in."""
        return [decode_revocation(each) for each in self._rows(network, "revocations")]

    def keep_revocations(self, network: NetworkId, revocations: Sequence[Revocation]) -> None:
        """Writes all of them down; they outlive a crash. Raises `DiskError`."""
        self._write(network, "revocations", msgspec.msgpack.encode([each.encode() for each in revocations]))

    def issued(self, network: NetworkId) -> list[Issued]:
        """Tokens issued here, oldest first."""
        try:
            content = (self.folder(network) / "issued").read_bytes()
            return msgspec.json.decode(content, type=list[Issued])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError) as error:
            raise _unreadable(self.folder(network) / "issued", error) from error

    def keep_issued(self, network: NetworkId, issued: Sequence[Issued]) -> None:
        """Writes them down. Raises `DiskError`."""
        self._write(network, "issued", msgspec.json.encode(issued))

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
        try:
            write_record(self.folder(network) / "roster", content, durable=False)
        except OSError:
            return

    def stamp(self) -> tuple[int, ...]:
        """Changes whenever a network is added or removed, or a record of one is replaced by any process."""
        stamps = []
        try:
            folders = [self._folder, *sorted(self._folder.iterdir())]
            for folder in folders:
                stamps += [path.stat().st_mtime_ns for path in (folder, folder / "held") if path.exists()]
        except OSError:
            return ()
        return tuple(stamps)

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

    def _rows(self, network: NetworkId, name: str) -> list[bytes]:
        path = self.folder(network) / name
        try:
            return msgspec.msgpack.decode(path.read_bytes(), type=list[bytes])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError) as error:
            raise _unreadable(path, error) from error

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
