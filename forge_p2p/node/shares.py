"""What this node shares: one small file a share, and one pin in the store that keeps its content.

A capability is good while its file is there: removing the file revokes the ticket, for a running node too, at once.
"""

import os
import time
from pathlib import Path

import msgspec

from forge_p2p.content.link import Root
from forge_p2p.content.linktext import format_link, parse_link
from forge_p2p.errors import ForgeError
from forge_p2p.node.home import Home, unwritable
from forge_p2p.node.records import write_record
from forge_p2p.node.results import ShareEntry
from forge_p2p.store.base import Keep, Store


class Share(msgspec.Struct, frozen=True):
    """A share as its file has it. `path` is in its text form; `bytes` of content; times are Unix seconds, 0 = never."""

    id: str
    path: str
    link: str
    bytes: int
    created: float
    expires: float

    @property
    def root(self) -> Root:
        return parse_link(self.link)


class Shares:
    """The shares of one node's folder; any process may ask."""

    def __init__(self, home: Home) -> None:
        self._folder = home.path / "shares"

    def add(self, store: Store, identity: bytes, path: str, root: Root, size: int, expires: float) -> Share:
        """Records a share and pins its content. Raises `DiskError`."""
        share = Share(identity.hex(), path, format_link(root), size, time.time(), expires)
        store.pin(_pin_name(share), root, Keep.KEPT, expires)
        try:
            self._write(share)
        except OSError as error:
            store.unpin(_pin_name(share))
            raise unwritable(f"the record of the share in {self._folder}", error) from error
        return share

    def find(self, identity: bytes) -> Share | None:
        """The share that a capability of this id belongs to; `None` when it was removed or never was."""
        return self._read(self._folder / identity.hex())

    def all(self) -> list[Share]:
        """Every share that has not expired, oldest first."""
        try:
            names = sorted(os.listdir(self._folder))
        except FileNotFoundError:
            return []
        found = [self._read(self._folder / name) for name in names if not name.startswith(".")]
        now = time.time()
        return sorted(
            (share for share in found if share and not 0 < share.expires <= now), key=lambda share: share.created
        )

    def remove(self, store: Store, share: Share) -> None:
        """Ends a share; its ticket is refused from now on."""
        (self._folder / share.id).unlink(missing_ok=True)
        store.unpin(_pin_name(share))

    def _write(self, share: Share) -> None:
        write_record(self._folder / share.id, msgspec.json.encode(share))

    def _read(self, path: Path) -> Share | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=Share)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise ForgeError(
                f"cannot read the share {path}: {error}", hint="remove the file to end that share"
            ) from error


def share_entry(each: Share, served: int = 0) -> ShareEntry:
    """A share as results show it; `served` bytes of it have been sent."""
    root = each.root
    return ShareEntry(
        id=each.id,
        path=each.path,
        link=each.link,
        kind=root.kind.value,
        bytes=each.bytes,
        created=each.created,
        expires=each.expires,
        served_bytes=served,
    )


def _pin_name(share: Share) -> str:
    return f"share/{share.id}"
