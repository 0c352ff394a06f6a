"""What is really in a file, whatever its times say."""

import os

from forge_p2p.content.chunking import Chunker
from forge_p2p.content.link import CHUNK_MAX, Link, hash_bytes
from forge_p2p.content.tree import TreeBuilder


def link_of(descriptor: int, size: int, chunker: Chunker | None = None) -> Link:
    """The link of the first `size` bytes of an open file, computed from its content; constant memory.

    Raises `SourceChanged` if the file is shorter, `DiskError` or `OSError` if it cannot be read.
    """
    if size <= CHUNK_MAX:
        content = os.pread(descriptor, size, 0)
        return Link(hash_bytes(content), len(content), 0)
    builder = TreeBuilder()
    for batch in (chunker or Chunker()).cut_file(descriptor, size):
        builder.add_all((chunk.hash, chunk.length) for chunk in batch)
        builder.take_nodes()
    return builder.finish()
