"""Operation: diff. What leads from one tree to another: names, links, or records of names."""

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from forge_p2p.content.link import Kind, Root
from forge_p2p.content.linktext import format_link, is_link, parse_link
from forge_p2p.content.pathtext import path_text
from forge_p2p.content.snapshot import Entry, EntryKind, sort_key
from forge_p2p.errors import UsageError
from forge_p2p.node.local import Report
from forge_p2p.node.refs.naming import parse_name
from forge_p2p.node.refs.pulling import resolve
from forge_p2p.node.refs.results import DiffEntry, DiffResult
from forge_p2p.node.refs.trees import read_listing
from forge_p2p.node.results import Progress

if TYPE_CHECKING:
    from forge_p2p.node.network import Network


async def diff(network: "Network", *, old: str, new: str, in_network: str = "", report: Report) -> DiffResult:
    """What was added, removed, changed and moved between two trees. Only their listings are fetched. Raises
    `UsageError` for what is no tree, and as `pull` does."""
    report(Progress("connect"))
    roots = [await _root(network, what, in_network) for what in (old, new)]
    for what, root in zip((old, new), roots, strict=True):
        if root.kind is not Kind.TREE:
            raise UsageError(f"{what!r} is no directory; only directories can be compared")
    before, after = (
        [await read_listing(network, root, in_network) for root in roots] if roots[0] != roots[1] else [[], []]
    )
    return DiffResult(format_link(roots[0]), format_link(roots[1]), differences(before, after))


def differences(before: Iterable[Entry], after: Iterable[Entry]) -> list[DiffEntry]:
    """What leads from one listing to the other, by path. A file that went, and came under another path with the same
    content, was moved; of several the ones with the same file name first."""
    old = {entry.path: entry for entry in before}
    new = {entry.path: entry for entry in after}
    removed = {path: old[path] for path in old.keys() - new.keys()}
    added = {path: new[path] for path in new.keys() - old.keys()}
    moved = _moves(removed, added)
    for source, destination in moved:
        del removed[source.path], added[destination.path]
    found = [_entry("moved", source, destination) for source, destination in moved]
    found += [_entry("removed", entry, None) for entry in removed.values()]
    found += [_entry("added", None, entry) for entry in added.values()]
    shared = old.keys() & new.keys()
    found += [_entry("changed", old[path], new[path]) for path in shared if not _same(old[path], new[path])]
    return sorted(found, key=lambda each: sort_key(each.path.encode("utf-8", "surrogateescape")))


def _moves(removed: dict[bytes, Entry], added: dict[bytes, Entry]) -> list[tuple[Entry, Entry]]:
    by_content: dict[tuple[int, bytes], list[Entry]] = defaultdict(list)
    for path in sorted(removed):
        if _has_content(removed[path]):
            by_content[removed[path].kind, removed[path].payload].append(removed[path])
    moves = []
    for path in sorted(added):
        entry = added[path]
        candidates = by_content.get((entry.kind, entry.payload)) if _has_content(entry) else None
        if candidates:
            name = path.rpartition(b"/")[2]
            source = next((each for each in candidates if each.path.rpartition(b"/")[2] == name), candidates[0])
            candidates.remove(source)
            moves.append((source, entry))
    return moves


def _has_content(entry: Entry) -> bool:
    """Whether it can be recognised elsewhere: empty files and directories all look the same."""
    return entry.kind == EntryKind.FILE and entry.size > 0


def _same(one: Entry, other: Entry) -> bool:
    """Times alone make no difference."""
    return (one.kind, one.mode, one.payload) == (other.kind, other.mode, other.payload)


def _entry(change: str, old: Entry | None, new: Entry | None) -> DiffEntry:
    here = new or old
    assert here is not None
    return DiffEntry(
        change=change,
        path=path_text(here.path),
        old_path=path_text(old.path) if old is not None and change == "moved" else "",
        old_size=old.size if old else 0,
        size=new.size if new else 0,
    )


async def _root(network: "Network", what: str, in_network: str) -> Root:
    """A link, or what a name stands for."""
    if is_link(what) and "/" not in what and "@" not in what:
        return parse_link(what)
    members = await network.members()
    named = parse_name(members.memberships.joined(), what, in_network)
    return (await resolve(members, named))[0].target
