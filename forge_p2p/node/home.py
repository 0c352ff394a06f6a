"""The node's folder: its key, store, caches and control socket. Made on first use, readable by its owner only."""

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forge_p2p.errors import DiskError, DiskFull, StoreError
from forge_p2p.node.nobody import NETWORKS, SOCKET

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_SIZE = 32


@dataclass(frozen=True, slots=True)
class Home:
    """One node's folder. Nothing is created until something is first written there."""

    path: Path

    @property
    def store(self) -> Path:
        return self.path / "store"

    @property
    def refs(self) -> Path:
        return self.path / "refs.lmdb"

    @property
    def networks(self) -> Path:
        """Not there before the first one is joined."""
        return self.path / NETWORKS

    @property
    def cache(self) -> Path:
        return self.path / "cache"

    @property
    def key_file(self) -> Path:
        return self.path / "node.key"

    @property
    def socket(self) -> Path:
        return self.path / SOCKET

    @property
    def lock(self) -> Path:
        return self.path / "node.lock"

    @property
    def log(self) -> Path:
        return self.path / "node.log"

    def create(self) -> None:
        """Makes the folder, mode 0700. Raises `DiskError` naming it."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError as error:
            raise StoreError(f"{self.path} is not a folder", hint="choose another with --home") from error
        except OSError as error:
            raise DiskError(
                f"cannot make the node's folder {self.path}: {error.strerror}", hint="choose another with --home"
            ) from error

    def key(self) -> "Ed25519PrivateKey":
        """The node's identity, made on first use. Raises `StoreError` when its file is damaged or open to others."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        try:
            mode = stat.S_IMODE(os.stat(self.key_file).st_mode)
            secret = self.key_file.read_bytes()
        except FileNotFoundError:
            secret, mode = self._make_key(), 0o600
        except OSError as error:
            raise DiskError(f"cannot read the node's key {self.key_file}: {error.strerror}") from error
        if mode & 0o077:
            raise StoreError(
                f"the node's key {self.key_file} is readable by others (mode {mode:o})",
                hint=f"chmod 600 {self.key_file}",
            )
        if len(secret) != KEY_SIZE:
            raise StoreError(
                f"the node's key {self.key_file} is damaged: {len(secret)} bytes, not {KEY_SIZE}",
                hint="restore it from a backup, or remove it to get a new identity; tickets of the old one end",
            )
        return Ed25519PrivateKey.from_private_bytes(secret)

    def _make_key(self) -> bytes:
        """Writes a new key. Two commands that start at once agree on one: the link fails for the second."""
        self.create()
        secret = os.urandom(KEY_SIZE)
        temporary = self.path / f".node.key.{os.getpid()}.{os.urandom(4).hex()}"
        try:
            try:
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(secret)
                    file.flush()
                    os.fsync(file.fileno())
                os.link(temporary, self.key_file)
            except FileExistsError:
                return self.key_file.read_bytes()
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(f"the node's key {self.key_file}", error) from error
        return secret


def unwritable(what: str, error: OSError) -> DiskError:
    """The error for a file of the node's folder that could not be written; the caller raises it."""
    kind = DiskFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else DiskError
    return kind(f"cannot write {what}: {error.strerror}")
