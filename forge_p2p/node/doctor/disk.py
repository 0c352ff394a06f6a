"""The node's folder, its key, its store, and the disk under them."""

import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from forge_p2p.config import GIB, StoreConfig
from forge_p2p.node.doctor.findings import fail, ok, warn
from forge_p2p.node.doctor.wording import size
from forge_p2p.node.home import Home
from forge_p2p.node.local import LocalNode
from forge_p2p.node.results import Finding
from forge_p2p.workspace.mounts import TABLE, mounts

NEARLY_FULL: Final = GIB
"""Bytes that can still be stored, below which it is time to say so."""

INODES_FEW: Final = 1000

REMOTE: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs", "vboxsf"})
"""LMDB maps its files into memory and locks them, and neither is to be relied on across a network."""

PASSING: Final = frozenset({"tmpfs", "ramfs"})


def check_folder(home: Home) -> Finding:
    """Whether the node's folder can be written, by nobody else."""
    path = home.path
    if not path.exists():
        return _check_parent(path)
    try:
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(bytes(4096))
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        return fail("folder", f"{path} cannot be written: {error.strerror}", _hint_for(path))
    if mode & 0o077:
        return warn("folder", f"{path} is open to others (mode {mode:o})", f"chmod 700 {path}")
    return ok("folder", f"{path} can be written, by this user alone")


def _check_parent(path: Path) -> Finding:
    parent = next(each for each in path.parents if each.exists())
    if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
        return ok("folder", f"{path} does not exist yet; it is made when it is first needed")
    reason = "cannot be written" if parent.is_dir() else "is not a folder"
    return fail("folder", f"{path} does not exist and cannot be made: {parent} {reason}", _hint_for(path))


def _hint_for(path: Path) -> str:
    return f"see to it that this user may write {path}, or choose another folder with --home or FORGE_HOME"


def check_key(home: Home) -> Finding:
    """Whether the node's identity is whole and private. Raises what reading it does."""
    if not home.key_file.exists():
        return ok("key", "none yet; it is made when it is first needed")
    home.key()
    return ok("key", f"{home.key_file} is whole and private")


def check_space(store: Path, config: StoreConfig) -> Finding:
    """How much can still be stored before the file system's reserve is reached."""
    where = next(each for each in (store, *store.parents) if each.exists())
    try:
        state = os.statvfs(where)
    except OSError as error:
        return fail("space", f"cannot look at the file system of {where}: {error.strerror}", _hint_for(where))
    free = state.f_bavail * state.f_frsize
    room = free - config.reserve
    hint = "free some space, run forge store gc, or set store.quota so that old content makes room in time"
    if room <= 0:
        kept = f", of which {size(config.reserve)} are kept free (store.reserve)" if config.reserve else ""
        return fail("space", f"the disk is full: {size(free)} free at {where}{kept}", hint)
    if state.f_files and state.f_favail < INODES_FEW:
        return fail("space", f"the file system at {where} has room for only {state.f_favail} more files", hint)
    if room < NEARLY_FULL:
        return warn("space", f"the disk is nearly full: {size(room)} can still be stored at {where}", hint)
    return ok("space", f"{size(room)} can be stored at {where}")


def check_file_system(store: Path, table: Path = TABLE) -> Finding:
    """Whether the store lies where it is safe."""
    kind, mount = file_system(store, table)
    if kind in REMOTE:
        hint = "put the node's folder on a local disk (--home); sharing it between machines is what Forge itself is for"
        return fail("file system", f"{store} is on {kind}, mounted at {mount}: a store there gets damaged", hint)
    if kind in PASSING:
        hint = "fine for an agent that starts afresh each time; otherwise put the node's folder on a disk (--home)"
        return warn("file system", f"{store} is on {kind}, mounted at {mount}: in memory, and gone at a restart", hint)
    return ok("file system", f"{kind}, mounted at {mount}")


def file_system(path: Path, table: Path = TABLE) -> tuple[str, str]:
    """The type of the file system that `path` is on or would be, and where it is mounted; "unknown" off Linux."""
    real = os.path.realpath(path)
    best = ("unknown", "/")
    try:
        lines = table.read_bytes()
    except OSError:
        return best
    for mount in mounts(lines):
        point = os.fsdecode(mount.point)
        if f"{real}/".startswith(f"{point.rstrip('/')}/") and len(point) >= len(best[1]):
            best = (os.fsdecode(mount.kind), point)
    return best


def check_store(node: LocalNode) -> Finding:
    """Whether the store opens, and how full its quota is. Raises what opening it does."""
    if not node.home.store.exists():
        return ok("store", "none yet; it is made when it is first needed")
    found = node.store.statistics()
    holds = f"{found.total.chunks:,} chunks, {size(found.disk_bytes)}"
    if found.quarantined:
        hint = "forge store verify fetches it again from where it came"
        return warn("store", f"{found.quarantined} chunks are damaged and set aside", hint)
    if found.quota and found.disk_bytes > node.config.store.high_watermark * found.quota:
        hint = "raise store.quota, or unshare something: only content that was fetched makes room by itself"
        return warn("store", f"{holds}: the quota of {size(found.quota)} is nearly used up", hint)
    return ok("store", holds)
