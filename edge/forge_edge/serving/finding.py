"""From what a URL names to what is there, for whoever may have it; for everybody else it is as if nothing were."""

import asyncio
from dataclasses import dataclass
from typing import Final

from forge_edge.access.grants import Grant, Unauthorized
from forge_edge.content.place import Place
from forge_edge.http.target import BlobTarget, LinkTarget, RefTarget, Target
from forge_edge.serving.gateway import Gateway
from forge_p2p.content.link import CHUNK_MAX, Kind, Link, Root
from forge_p2p.content.snapshot import Entry, EntryKind
from forge_p2p.errors import NotFound
from forge_p2p.ids import Hash
from forge_p2p.node.membership.networks import Joined

FOREVER: Final = 31_536_000
"""Seconds of a year, the most that caches are told."""


@dataclass(frozen=True, slots=True)
class Resource:
    """What is there. `link`: a file's content, in `place`; `None`: a directory, with its `entries`. `title` is for a
    page; `headers` say which name it came by; `age`: seconds for which it may be cached."""

    place: Place
    link: Link | None
    path: bytes
    title: str
    entries: list[Entry]
    headers: dict[str, str]
    age: float


async def find(gateway: Gateway, grant: Grant, target: Target) -> Resource | None:
    """What `target` is. `None`: nothing, or nothing for this grant. Raises `Unauthorized` where no credential was
    shown and one might open it: that depends on the form of the URL alone."""
    if isinstance(target, RefTarget):
        return await _named(gateway, grant, target)
    if grant.who == "anonymous" and not grant.networks:
        raise Unauthorized
    if isinstance(target, BlobTarget):
        return await _blob(gateway, grant, target.hash)
    return await _linked(gateway, grant, target)


async def _named(gateway: Gateway, grant: Grant, target: RefTarget) -> Resource | None:
    found = await gateway.names.find(target.parts, grant.visible, grant)
    if found is None:
        if grant.who == "anonymous":
            raise Unauthorized
        return None
    standing = found.standing
    network = standing.joined
    held = await _holds(gateway, network, standing.root)
    place = Place(standing.root, network.network.hex(), held)
    title = f"{network.name}/{standing.name}@{standing.seq}"
    headers = {"Forge-Ref": title, "Forge-Link": place.text}
    age = FOREVER if found.pinned else gateway.settings.ref_age
    return await _inside(gateway, place, found.path, title, headers, age)


async def _linked(gateway: Gateway, grant: Grant, target: LinkTarget) -> Resource | None:
    for place in await _places(gateway, grant, target.root):
        try:
            return await _inside(gateway, place, target.path, target.text, {"Forge-Link": target.text}, FOREVER)
        except NotFound:
            continue
    return None


async def _places(gateway: Gateway, grant: Grant, root: Root) -> list[Place]:
    """Where a root may be looked for: the network that has it here, or all that the grant opens."""
    for joined in grant.networks:
        if await _holds(gateway, joined, root):
            return [Place(root, joined.network.hex(), held=True)]
    if grant.unbounded and gateway.store.has(root.link.hash):
        return [Place(root, grant.networks[0].network.hex() if grant.networks else "", held=True)]
    return [Place(root, joined.network.hex(), held=False) for joined in grant.networks]


async def _holds(gateway: Gateway, joined: Joined, root: Root) -> bool:
    if gateway.reach.holds_root(joined, root):
        return True
    return root.kind is Kind.BLOB and await gateway.reach.holds_chunk(joined, root.link.hash)


async def _inside(
    gateway: Gateway, place: Place, path: bytes, title: str, headers: dict[str, str], age: float
) -> Resource | None:
    if place.root.kind is Kind.BLOB:
        if path:
            return None
        await _require(gateway, place)
        return Resource(place, place.root.link, b"", title, [], headers, age)
    tree = await gateway.trees.of(place)
    entry = tree.find(path) if path else None
    if path and (entry is None or entry.kind == EntryKind.SYMLINK):
        return None
    if entry is not None and entry.kind == EntryKind.FILE:
        return Resource(place, entry.link, path, title, [], headers, age)
    loop = asyncio.get_running_loop()
    entries = await loop.run_in_executor(gateway.executor, tree.children, path)
    return Resource(place, None, path, title, entries, headers, age)


async def _require(gateway: Gateway, place: Place) -> None:
    """Raises `NotFound` for a blob that is not to be had: better before the headers than after."""
    if not place.held and place.root.link.size:
        async for pieces in gateway.pieces.read(place, place.root.link, 0, 1):
            if pieces:
                break


async def _blob(gateway: Gateway, grant: Grant, chunk: Hash) -> Resource | None:
    """A chunk that belongs to a network here. Nobody else can be asked: a chunk alone says not to which root it
    belongs."""
    allowed = grant.unbounded
    for joined in grant.networks:
        allowed = allowed or await gateway.reach.holds_chunk(joined, chunk)
    if not allowed:
        return None
    root = Root(Kind.BLOB, Link(chunk, CHUNK_MAX, 0))
    found = await gateway.pieces.encoded(Place(root, "", held=True), root.link)
    if found is None:
        return None
    link = Link(chunk, found.size, 0)
    return Resource(Place(Root(Kind.BLOB, link), "", held=True), link, b"", chunk.hex(), [], {}, FOREVER)
