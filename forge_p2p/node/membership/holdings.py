"""Which content belongs to which network: what a member may fetch, and who is told as more of it arrives.

Content belongs to a network when it was shared into it or fetched through it, and to no other. A member may fetch what
the roots it follows reach, and nothing else of the store. Of a root that is still being fetched that is what has
arrived; every chunk of it was wanted because a verified listing or list node named it.
"""

import os
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec
import trio

from forge_p2p.content.link import Root
from forge_p2p.content.linktext import format_link, parse_link
from forge_p2p.errors import CorruptChunk, ForgeError, NotFound
from forge_p2p.ids import Hash, NetworkId, prefix_of
from forge_p2p.node.home import unwritable
from forge_p2p.node.local import LocalNode
from forge_p2p.node.records import write_record
from forge_p2p.node.sessions.scope import Closure, Missing
from forge_p2p.store.base import Keep

LINGER = 30.0
"""Seconds for which what a fetch has brought of a root is offered when it ended without the whole. The sharer of
something gives it to one and counts on that one to pass it on (`proto.sent`): eight who started together and wanted no
more than a repository's manifest waited 3 s for it when the first had forgotten it by then."""

Arrived = Callable[[list[int]], None]
"""Told the 64-bit prefixes of chunks that are here now."""


class Held(msgspec.Struct, frozen=True):
    """A root of a network, as its file has it. `path`, in its text form, and `bytes` are of what was shared here;
    `origin` says that it was shared and not fetched. `since` in Unix seconds."""

    link: str
    origin: bool
    path: str
    bytes: int
    since: float


@dataclass(slots=True, eq=False)
class Holding:
    """A root in one network. `complete`: all of it is here. `watchers` are told of what arrives, until it is. `users`:
    fetches that bring it and members that follow it here; without any it is forgotten, unless it is complete."""

    network: NetworkId
    root: Root
    held: Held | None = None
    complete: bool = False
    arrived: set[int] = field(default_factory=set)
    watchers: set[Arrived] = field(default_factory=set)
    users: int = 0
    until: float = 0.0
    """When it is forgotten if nobody uses it."""
    closure: Closure | None = None
    confirmed: bool = False
    """Somebody in the network has some of it: what arrives is that network's, too, and no other's alone."""

    @property
    def origin(self) -> bool:
        """Whether it was shared here."""
        return self.held is not None and self.held.origin

    def allows(self, chunk: Hash) -> bool:
        """Whether the root reaches this chunk, as far as is known here."""
        if self.closure is not None:
            return self.closure.allows(chunk)
        return prefix_of(chunk) in self.arrived

    @property
    def prefixes(self) -> Collection[int]:
        """The first 64 bits of the hashes of all that it allows; not to be changed."""
        return self.closure.prefixes if self.closure is not None else self.arrived

    def arrive(self, chunks: Iterable[Hash]) -> None:
        """These chunks of it are in the store."""
        fresh = [prefix for prefix in map(prefix_of, chunks) if prefix not in self.arrived]
        self.arrived.update(fresh)
        for tell in list(self.watchers):
            tell(fresh)


class Reach(Protocol):
    """Some of a store."""

    def allows(self, chunk: Hash) -> bool: ...


class MemberScope:
    """What one session of a network may ask for: what the roots reach that it follows here, and, once it has been told
    about all of the network's content here, all of that."""

    member = True

    def __init__(self) -> None:
        self._open: dict[Hash, Holding] = {}
        self._all: Reach | None = None

    def widen(self, reach: Reach) -> None:
        """The session has been told what is here: `reach`."""
        self._all = reach

    def find(self, root: Hash) -> Holding | None:
        """A root that the session follows here."""
        return self._open.get(root)

    def open(self, holding: Holding) -> None:
        """The session follows this root."""
        self._open[holding.root.link.hash] = holding

    def allows(self, chunk: Hash) -> bool:
        """Whether a followed root reaches this chunk."""
        if any(holding.allows(chunk) for holding in self._open.values()):
            return True
        return self._all is not None and self._all.allows(chunk)


class Holdings:
    """The holdings of one node. `folder_of` says where a network's records are; `None`: it keeps nothing on disk.

    Called from the node's own thread; only `keep`, `forget` and `load` touch the disk.
    """

    def __init__(self, node: LocalNode, folder_of: Callable[[NetworkId], Path | None]) -> None:
        self._node = node
        self._folder_of = folder_of
        self._holdings: dict[tuple[NetworkId, Hash], Holding] = {}
        self._unused: set[Holding] = set()
        """Parts that nobody fetches or follows."""
        self._lock = threading.Lock()

    def find(self, network: NetworkId, root: Hash) -> Holding | None:
        """What is held of a root in a network, whole or in part."""
        return self._holdings.get((network, root))

    def of(self, network: NetworkId) -> list[Holding]:
        """All holdings of a network."""
        return [holding for holding in list(self._holdings.values()) if holding.network == network]

    def begin(self, network: NetworkId, root: Root) -> Holding:
        """A root whose chunks begin to arrive; what is held already stays as it is. To be left when the fetch ends."""
        holding = self._at(network, root)
        self.use(holding)
        return holding

    def use(self, holding: Holding) -> None:
        """A member follows it here; to be left when it does no more."""
        holding.users += 1

    def leave(self, holding: Holding, *, linger: float = 0.0) -> None:
        """A fetch ended, or a member follows it no more. What nobody uses and is not whole is offered for `linger`
        seconds more, if it is this network's for sure."""
        holding.users -= 1
        now = trio.current_time()
        if linger and holding.confirmed:
            holding.until = now + linger
        if not holding.users:
            self._unused.add(holding)
        self.expire(now)

    def expire(self, now: float) -> None:
        """Forgets what nobody uses any more, when its time has come."""
        for holding in [each for each in self._unused if each.users or each.complete or each.until <= now]:
            self._unused.discard(holding)
            used = holding.users or holding.complete
            if not used and self.find(holding.network, holding.root.link.hash) is holding:
                del self._holdings[holding.network, holding.root.link.hash]

    def drop_network(self, network: NetworkId) -> None:
        """The node left a network."""
        for holding in self.of(network):
            self._drop(holding)

    def load(self, network: NetworkId) -> list[Holding]:
        """Reads the records of a network; adds what is new in them, drops what is gone and returns it. Blocks."""
        folder = self._folder_of(network)
        if folder is None:
            return []
        try:
            names = {name for name in os.listdir(folder) if not name.startswith(".")}
        except FileNotFoundError:
            names = set()
        known = {format_link(each.root): each for each in self.of(network) if each.held is not None}
        for name in names - known.keys():
            held = _read(folder / name)
            if held is not None:
                self._add(network, held)
        gone = [known[name] for name in known.keys() - names]
        for holding in gone:
            self._drop(holding)
        return gone

    def keep(
        self, network: NetworkId, root: Root, *, origin: bool, path: str = "", size: int = 0, pinned: bool = True
    ) -> Holding:
        """All of `root` is here and belongs to `network` from now on: kept if it was shared here, cached if it was
        fetched. `pinned`: something else keeps it if it is not. Blocks. Raises `DiskError`."""
        found = self.find(network, root.link.hash)
        if found is not None and found.origin and not origin:
            return found
        held = Held(format_link(root), origin, path, size, time.time())
        if origin and pinned:
            self._node.store.pin(_pin_name(network, root), root, Keep.KEPT)
        folder = self._folder_of(network)
        if folder is not None:
            _write(folder, held)
        return self._add(network, held)

    def forget(self, holding: Holding) -> None:
        """Takes a root out of its network; its content stays until the room is needed. Blocks."""
        folder = self._folder_of(holding.network)
        if folder is not None:
            (folder / format_link(holding.root)).unlink(missing_ok=True)
        self._node.store.unpin(_pin_name(holding.network, holding.root))
        self._drop(holding)

    async def ready(self, holding: Holding) -> bool:
        """Finds out what a complete holding reaches, if that is not known yet; `False` when it turns out not to be
        here any more."""
        if not holding.complete or holding.closure is not None:
            return True
        return await self._walk(holding, None)

    async def still_here(self, holding: Holding) -> bool:
        """The same after something was collected: what was fetched is looked for, every chunk of it. What was shared
        is kept whatever is collected."""
        if not holding.complete or holding.origin:
            return await self.ready(holding)
        return await self._walk(holding, self._node.store.missing)

    async def _walk(self, holding: Holding, missing: Missing | None) -> bool:
        try:
            holding.closure = await trio.to_thread.run_sync(Closure, holding.root, self._node.store.read, missing)
        except (NotFound, CorruptChunk):
            if not holding.origin:  # evicted for want of room; what was shared is kept, and healed if damaged
                await trio.to_thread.run_sync(self.forget, holding)
            return False
        return True

    def _drop(self, holding: Holding) -> None:
        """Sessions that follow it may have nothing of it any more."""
        self._holdings.pop((holding.network, holding.root.link.hash), None)
        holding.complete, holding.closure = False, None
        holding.arrived.clear()

    def _at(self, network: NetworkId, root: Root) -> Holding:
        return self._holdings.setdefault((network, root.link.hash), Holding(network, root))

    def _add(self, network: NetworkId, held: Held) -> Holding:
        root = parse_link(held.link)
        with self._lock:
            holding = self._at(network, root)
            holding.held, holding.complete = held, True
        return holding

    def tell(self, holding: Holding) -> None:
        """Lets those who watch a holding know that it is complete. In the node's own thread."""
        for watcher in list(holding.watchers):
            watcher([])


def _pin_name(network: NetworkId, root: Root) -> str:
    return f"network/{network.hex()[:16]}/{format_link(root)}"


def _write(folder: Path, held: Held) -> None:
    try:
        write_record(folder / held.link, msgspec.json.encode(held))
    except OSError as error:
        raise unwritable(f"the record of what is shared in {folder}", error) from error


def _read(path: Path) -> Held | None:
    try:
        held = msgspec.json.decode(path.read_bytes(), type=Held)
        parse_link(held.link)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, ForgeError) as error:
        raise ForgeError(
            f"cannot read the record {path}: {error}", hint="remove the file to take that content out of the network"
        ) from error
    return held
