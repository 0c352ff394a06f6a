"""The gateway's own keys, which sign its tokens and URLs: HOME/gateway/keys/NUMBER, 32 bytes each, mode 0600.

The highest number signs; all of them verify. So a key is rotated by making the next one, waiting until what the old one
signed has expired, and removing the old one. Who has a key can write any credential of this gateway, and of no other.
"""

import hmac
import os
import stat
from pathlib import Path
from typing import Final

from forge_p2p.errors import DiskError, StoreError, UsageError
from forge_p2p.node.home import Home, unwritable
from forge_p2p.node.records import write_record
from forge_p2p.writeback import sync_folder

KEY_SIZE: Final = 32
MAC_SIZE: Final = 32


def gateway_folder(home: Home) -> Path:
    """Where a gateway keeps what is its own."""
    return home.path / "gateway"


class Keys:
    """The keys of one gateway, in `folder`. Reads it when made; a running gateway makes a new one when it changes."""

    def __init__(self, home: Home) -> None:
        self.folder = gateway_folder(home) / "keys"
        self._home = home
        self._keys = {number: self._read(number) for number in self._numbers()}

    @property
    def numbers(self) -> list[int]:
        """Of the keys there are, oldest first."""
        return sorted(self._keys)

    def rotate(self) -> int:
        """Makes the next key and returns its number. Raises `DiskError`."""
        number = max(self._keys, default=0) + 1
        self._home.create()
        path = self.folder / str(number)
        try:
            write_record(path, os.urandom(KEY_SIZE))
        except OSError as error:
            raise unwritable(f"the gateway's key {path}", error) from error
        self._keys[number] = self._read(number)
        return number

    def remove(self, number: int) -> None:
        """Ends all that a key has signed. Raises `UsageError` where there is none."""
        if number not in self._keys:
            raise UsageError(f"this gateway has no key {number}", hint="forge-edge keys lists them")
        try:
            (self.folder / str(number)).unlink()
            sync_folder(self.folder)
        except OSError as error:
            raise unwritable(f"the folder {self.folder}", error) from error
        del self._keys[number]

    def newest(self) -> int:
        """The number of the key that signs, made if there is none."""
        return max(self._keys, default=0) or self.rotate()

    def sign(self, message: bytes) -> tuple[int, bytes]:
        """The number of the newest key, and its HMAC-SHA256 of `message`."""
        number = self.newest()
        return number, hmac.digest(self._keys[number], message, "sha256")

    def is_signed(self, number: int, message: bytes, mac: bytes) -> bool:
        """Whether key `number` made `mac` of `message`; in a time that does not tell where they differ."""
        key = self._keys.get(number)
        return key is not None and hmac.compare_digest(hmac.digest(key, message, "sha256"), mac)

    def _numbers(self) -> list[int]:
        try:
            return [int(name) for name in os.listdir(self.folder) if name.isdecimal() and int(name)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise DiskError(f"cannot read {self.folder}: {error.strerror}") from error

    def _read(self, number: int) -> bytes:
        path = self.folder / str(number)
        try:
            mode = stat.S_IMODE(os.stat(path).st_mode)
            key = path.read_bytes()
        except OSError as error:
            raise DiskError(f"cannot read the gateway's key {path}: {error.strerror}") from error
        if mode & 0o077 or len(key) != KEY_SIZE:
            problem = f"is readable by others (mode {mode:o})" if mode & 0o077 else "is damaged"
            raise StoreError(f"the gateway's key {path} {problem}", hint="chmod 600 it, or remove it and make another")
        return key
