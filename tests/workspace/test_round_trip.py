"""A directory, scanned and restored somewhere else, is found to be the same."""

import os
from pathlib import Path

from forge_p2p.content.chunking import Chunker
from forge_p2p.content.link import CHUNK_MAX, Kind, Link, Root, hash_bytes
from forge_p2p.content.snapshot import Entry
from forge_p2p.workspace.plan import plan_restore
from forge_p2p.workspace.restore import RestoreWriter
from forge_p2p.workspace.scan import scan
from forge_p2p.workspace.source import SourceReader
from forge_p2p.workspace.statcache import StatCache
from forge_p2p.workspace.verify import link_of


def test_files_directories_and_symlinks(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "empty").mkdir(parents=True)
    (source / "a" / "b").mkdir(parents=True)
    (source / "a" / "b" / "small").write_bytes(b"small")
    (source / "a" / "none").touch(mode=0o755)
    (source / "large").write_bytes(os.urandom(3 * CHUNK_MAX) + bytes(4 * CHUNK_MAX) + b"end")
    (source / "link").symlink_to("a/nowhere")
    cache = StatCache(tmp_path / "cache")
    found = scan(os.fsencode(source), cache)
    links: dict[bytes, Link] = {}
    with SourceReader(found) as reader:
        for item in found.unknown():
            descriptor = reader.open_verified(item)
            links[item.path] = link_of(descriptor, item.size, Chunker())
            os.close(descriptor)
    entries = list(found.entries(links))
    root = Root(Kind.TREE, Link(hash_bytes(repr(entries).encode()), 1, 0))
    found.remember(cache, links, root)
    destination = tmp_path / "destination"
    with RestoreWriter(plan_restore(os.fsencode(destination), root, entries, cache), cache) as writer:
        for entry in writer.plan.write:
            write(writer, entry, (source / os.fsdecode(entry.path)).read_bytes())
        assert not destination.exists()
        outcome = writer.finish()
    assert not outcome.failures
    again = scan(os.fsencode(destination), StatCache(tmp_path / "none"))
    assert [(i.path, i.st_mode, i.mtime_ns, i.size) for i in again.items] == [
        (i.path, i.st_mode, i.mtime_ns, i.size) for i in found.items
    ]
    assert sorted(os.listdir(tmp_path)) == ["cache", "destination", "source"]


def write(writer: RestoreWriter, entry: Entry, content: bytes) -> None:
    if entry.level == 0:
        writer.write_small(entry, content)
        return
    file = writer.open_large(entry)
    for offset in range(0, entry.size, CHUNK_MAX):
        file.write_at(offset, [content[offset : offset + CHUNK_MAX]])
    file.finish()
