"""Whom this node was connected with, kept over restarts: all there is to begin with when those in the token are gone.

One small file a network, written within seconds of a change, because a node that is killed says nothing before. It is a
convenience: what cannot be read or written costs a slower start and nothing else.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import trio

from forge_p2p.content.contact import Contact, means_something_elsewhere, pack_contact, unpack_contact
from forge_p2p.errors import Malformed
from forge_p2p.ids import NetworkId
from forge_p2p.node.membership.peering import Peering
from forge_p2p.node.records import write_record

GATHERED = 2.0
"""Seconds for which changes are gathered into one writing."""

SIZE_MAX = 65_536
"""Bytes of a file: 64 people with 8 addresses each take 16 KiB."""

Row = tuple[bytes, list[tuple[bytes, int]], float]
"""Node id, packed addresses and ports, likeliest first, and when it was last connected, in Unix seconds."""


class Remembering:
    """`path`: where a network's file is, `None` for a network that keeps nothing on disk."""

    def __init__(self, peering: Peering, path: Callable[[NetworkId], Path | None]) -> None:
        self._peering = peering
        self._path = path
        self._saved = -GATHERED

    async def recall(self, network: NetworkId) -> None:
        """Whoever is on disk is known from now on, and dialled."""
        path = self._path(network)
        if path is None:
            return
        for contact, met in await trio.to_thread.run_sync(_read, path):
            self._peering.recall(network, contact, met)

    async def save(self, *, at_once: bool = False) -> None:
        """Writes down what has changed, if it is time or has to be `at_once`. Call it every second or so."""
        if not self._peering.changed or (not at_once and trio.current_time() < self._saved + GATHERED):
            return
        self._saved = trio.current_time()
        changed = set(self._peering.changed)
        self._peering.changed.clear()
        for network in changed:
            path = self._path(network)
            if path is not None:
                await trio.to_thread.run_sync(_write, path, self._rows(network))

    def _rows(self, network: NetworkId) -> list[Row]:
        now = time.time()
        rows: list[Row] = []
        for known in self._peering.met(network):
            contact = known.contact
            useful = tuple(place for place in contact.addresses if means_something_elsewhere(place[0]))
            if useful:
                connected = self._peering.connected(network, contact.node_id) is not None
                rows.append((*pack_contact(Contact(contact.node_id, useful)), now if connected else known.met))
        return rows


def _read(path: Path) -> list[tuple[Contact, float]]:
    try:
        with path.open("rb") as file:
            rows = msgspec.msgpack.decode(file.read(SIZE_MAX), type=list[Row])
        return [(unpack_contact(node_id, addresses), met) for node_id, addresses, met in rows]
    except (OSError, msgspec.DecodeError, Malformed):
        return []


def _write(path: Path, rows: list[Row]) -> None:
    with suppress(OSError):
        if path.parent.is_dir():  # the network may have been left meanwhile
            write_record(path, msgspec.msgpack.encode(rows), durable=False)
