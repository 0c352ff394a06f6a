"""Trees of every odd kind, made by hypothesis and written by plain calls of the operating system."""

import os
from dataclasses import dataclass

from hypothesis import strategies as st

from forge_p2p.content.paths import check_name
from forge_p2p.errors import HostileSnapshot
from forge_p2p.workspace.names import is_leftover

HOLE = 300_000
"""Bytes of a sparse file's hole: more than a chunk."""


@dataclass(frozen=True)
class File:
    content: bytes
    mode: int
    mtime_ns: int
    hole: bool = False


@dataclass(frozen=True)
class Symlink:
    target: bytes


@dataclass(frozen=True)
class Folder:
    children: "dict[bytes, Node]"
    mode: int = 0o755


Node = File | Symlink | Folder


def is_allowed(name: bytes) -> bool:
    """Whether a snapshot may have it."""
    try:
        check_name(name, name)
    except HostileSnapshot:
        return False
    return not is_leftover(name) and name != b".forgeignore"


NAMES = st.one_of(
    st.sampled_from([b"a", b"b", b"c", b"a-b", b"A", b".hidden", "e\u0301".encode(), "\u00e9".encode()]),
    st.binary(min_size=1, max_size=12).filter(lambda name: b"/" not in name and b"\0" not in name and is_allowed(name)),
)
MODES = st.integers(0, 0o777)
TIMES = st.one_of(st.integers(-(1 << 31) * 10**9, (1 << 33) * 10**9), st.just(0), st.just(10**18))
"""What ext4 can hold: 1901 to 2242."""
FILES = st.builds(File, st.binary(max_size=20), MODES, TIMES, st.sampled_from([False, False, False, True]))
SYMLINKS = st.builds(
    Symlink,
    st.one_of(
        st.sampled_from([b"a", b"../..", b"/etc/passwd", b".", b"no/where"]),
        st.binary(min_size=1, max_size=30).filter(lambda target: b"\0" not in target),
    ),
)
NODES: st.SearchStrategy[Node] = st.recursive(
    st.one_of(FILES, SYMLINKS),
    lambda nodes: st.builds(Folder, st.dictionaries(NAMES, nodes, max_size=4), MODES),
    max_leaves=12,
)
TREES = st.builds(Folder, st.dictionaries(NAMES, NODES, max_size=5))


def build(path: bytes, node: Node) -> None:
    """Writes `node` at `path`, the modes of directories last."""
    if isinstance(node, Symlink):
        os.symlink(node.target, path)
    elif isinstance(node, File):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            os.pwrite(descriptor, node.content, HOLE if node.hole else 0)
            os.fchmod(descriptor, node.mode)
            os.utime(descriptor, ns=(node.mtime_ns, node.mtime_ns))
        finally:
            os.close(descriptor)
    else:
        os.mkdir(path)
        for name, child in node.children.items():
            build(os.path.join(path, name), child)
        os.chmod(path, node.mode)
