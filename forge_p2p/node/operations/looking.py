"""Operations: ls and cat. They look into a link, in the store or at who shared it, without restoring anything."""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING

from forge_p2p.content import walk
from forge_p2p.content.link import Kind, Link, Root
from forge_p2p.content.linktext import format_link
from forge_p2p.content.pathtext import path_bytes, path_text
from forge_p2p.content.snapshot import KINDS, Entry, EntryKind, leads_to
from forge_p2p.errors import NotFound, UsageError
from forge_p2p.node.local import LocalNode, Report
from forge_p2p.node.results import CatResult, LsEntry, LsResult, Progress
from forge_p2p.node.target import Target, parse_target

if TYPE_CHECKING:
    from forge_p2p.node.fetch.receiving import Receiver
    from forge_p2p.node.network import Network

Emit = Callable[[bytes], Awaitable[None]]


def ls_here(node: LocalNode, *, what: str, path: str = "", report: Report) -> LsResult | None:  # noqa: ARG001
    """The listing, when all of it is in the store; else `None`."""
    target = parse_target(what)
    if target.root.kind is Kind.BLOB:
        return _ls_blob(target.root, path)
    try:
        return _ls_tree(target.root, walk.entries(target.root.link, node.store.read), path)
    except NotFound:
        if node.store.has(target.root.link.hash) and target.ticket is None:
            raise
        return None


async def ls(network: "Network", *, what: str, path: str = "", report: Report) -> LsResult:
    """The listing, fetched from who shared it."""
    from forge_p2p.node.fetch.expanding import listing

    target = parse_target(what)
    entries: list[Entry] = []
    report(Progress("fetch"))

    async def produce(receiver: "Receiver") -> None:
        entries.extend(await listing(receiver, target.root.link))

    await _fetch(network, target, produce)
    return _ls_tree(target.root, [entries], path)


async def cat(network: "Network", *, what: str, path: str = "", emit: Emit, report: Report) -> CatResult:
    """Hands one file's content to `emit`, verified, piece by piece, from the store or from who shared it."""
    from forge_p2p.node.fetch.expanding import content, listing

    target = parse_target(what)
    found: list[Link] = []
    report(Progress("fetch"))

    async def produce(receiver: "Receiver") -> None:
        link = target.root.link
        if target.root.kind.is_listing:
            link = _file_at(await listing(receiver, link), path)
        elif path:
            raise UsageError(f"this link is one file and has nothing at {path!r}", hint="leave the path out")
        found.append(link)
        async with aclosing(content(receiver, link)) as pieces:
            async for piece in pieces:
                await emit(bytes(piece))

    await _fetch(network, target, produce)
    return CatResult(format_link(Root(Kind.BLOB, found[0])), found[0].size)


async def _fetch(network: "Network", target: Target, produce: Callable[["Receiver"], Awaitable[None]]) -> None:
    from forge_p2p.node.fetch.fetching import fetching

    async with fetching(network, target) as fetch:
        await fetch.run(produce, lambda counts: None)
    # Not committed: what was only looked at is not kept.


def _ls_tree(root: Root, pages: Iterable[list[Entry]], path: str) -> LsResult:
    wanted = path_bytes(path).strip(b"/")
    below = wanted + b"/" if wanted else b""
    found = [
        _ls_entry(entry) for page in pages for entry in page if entry.path.startswith(below) or entry.path == wanted
    ]
    if wanted and not found:
        raise NotFound(f"there is no {path!r} in this link", hint="forge ls LINK shows what there is")
    if len(found) > 1 and wanted:
        found = found[1:]
    return LsResult(found, format_link(root))


def _ls_blob(root: Root, path: str) -> LsResult:
    if path:
        raise UsageError(f"this link is one file and has nothing at {path!r}", hint="leave the path out")
    text = format_link(root)
    return LsResult([LsEntry("", "file", 0o644, root.link.size, 0, text)], text)


def _ls_entry(entry: Entry) -> LsEntry:
    kind = KINDS[EntryKind(entry.kind)]
    return LsEntry(path_text(entry.path), kind, entry.mode, entry.size, entry.mtime_ns, leads_to(entry))


def _file_at(entries: Iterable[Entry], path: str) -> Link:
    wanted = path_bytes(path).strip(b"/")
    for entry in entries:
        if entry.path == wanted:
            if entry.kind != EntryKind.FILE:
                raise UsageError(f"{path!r} is a {KINDS[EntryKind(entry.kind)]}, not a file")
            return entry.link
    if not path:
        raise UsageError("this link is a directory", hint="name a file in it; forge ls LINK shows them")
    raise NotFound(f"there is no {path!r} in this link", hint="forge ls LINK shows what there is")
