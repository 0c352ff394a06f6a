"""Chunks of a file at the destination."""

import os
from pathlib import Path

from forge_p2p.content.chunking import cut_bytes
from forge_p2p.content.link import hash_bytes
from forge_p2p.workspace.reuse import PresentFile
from tests.node.harness import noise


def test_what_is_in_a_file_is_found_and_read(tmp_path: Path) -> None:
    content = noise(1, 6_000_000)
    (tmp_path / "file").write_bytes(content)
    chunks = [chunk.hash for chunk in cut_bytes(content)]
    with PresentFile(os.fsencode(tmp_path / "file")) as present:
        assert present.among([hash_bytes(b"elsewhere"), *chunks]) == chunks
        batches = list(present.read(chunks))
    assert len(batches) > 1
    assert b"".join(raw for batch in batches for _, raw in batch) == content


def test_what_changed_since_is_not_there(tmp_path: Path) -> None:
    content = noise(1, 1_000_000)
    path = tmp_path / "file"
    path.write_bytes(content)
    chunks = [chunk.hash for chunk in cut_bytes(content)]
    with PresentFile(os.fsencode(path)) as present:
        with path.open("r+b") as file:
            file.write(b"!")
        found = [chunk for batch in present.read(chunks) for chunk, _ in batch]
    assert found == chunks[1:]


def test_what_cannot_be_read_has_nothing(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "folder").mkdir()
    for name in ("link", "folder", "nowhere"):
        with PresentFile(os.fsencode(tmp_path / name)) as present:
            assert present.among([hash_bytes(b"content")]) == []
