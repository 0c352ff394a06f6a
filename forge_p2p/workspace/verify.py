"""What is really in a file, whatever its times say."""

import os

from forge_p2p.content.chunking import Chunker
from forge_p2p.content.link import CHUNK_MAX, Link, hash_bytes
from forge_p2p.content.tree import TreeBuilder
from forge_p2p.errors import DiskError, SourceChanged

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


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


def holds(link: Link, name: bytes | str, directory: int) -> bool:
    """Whether the file `name`, which has the link's size, has its content. One that cannot be read has not: writing it
    anew will say what is wrong with it."""
    try:
        descriptor = os.open(name, _FLAGS, dir_fd=directory)
    except OSError:
        return False
    try:
        return link_of(descriptor, link.size) == link
    except (OSError, DiskError, SourceChanged):
        return False
    finally:
        os.close(descriptor)
