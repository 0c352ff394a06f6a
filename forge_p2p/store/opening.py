"""Opening a store: its folder is made if there is none, its index rebuilt if that is missing or not whole."""

from pathlib import Path

from forge_p2p.config import StoreConfig
from forge_p2p.errors import DiskError, Malformed, StoreError
from forge_p2p.store.base import Heal
from forge_p2p.store.claims import Claims
from forge_p2p.store.context import Context
from forge_p2p.store.datafiles import DataFiles
from forge_p2p.store.disk import DiskStore
from forge_p2p.store.environment import remove_database
from forge_p2p.store.faults import disk_errors
from forge_p2p.store.identity import new_identity, read_identity, write_identity
from forge_p2p.store.index import Index
from forge_p2p.store.layout import Layout
from forge_p2p.store.locks import Lock, lock_file


def open_disk_store(path: Path, config: StoreConfig, heal: Heal | None = None) -> DiskStore:
    """The disk store at `path`. Raises `StoreError` for another format, `DiskError` for what the system refuses."""
    layout = Layout(path)
    for folder in layout.folders():
        with disk_errors(folder, 4096):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = lock_file(layout.lock, shared=True, wait=True)
    if lock is None:
        raise StoreError(f"{path} was removed while it was being opened")
    try:
        return DiskStore(_open_databases(layout, lock, config, heal), lock)
    except BaseException:
        lock.release()
        raise


def _open_databases(layout: Layout, lock: Lock, config: StoreConfig, heal: Heal | None) -> Context:
    claims = Claims(layout.claims)
    try:
        identity = _identify(layout, claims)
        index = _open_index(layout, lock)
        context = Context(layout, config, claims, index, DataFiles(layout), heal)
        try:
            if not index.whole_for(identity):
                from forge_p2p.store.rebuild import build_if_needed

                build_if_needed(context, identity)
        except BaseException:
            index.close()
            raise
    except BaseException:
        claims.close()
        raise
    return context


def _identify(layout: Layout, claims: Claims) -> bytes:
    try:
        expected = read_identity(layout)
    except Malformed as error:
        raise StoreError(error.message, hint=error.hint) from error
    identity = claims.identity()
    if expected is None:
        identity = identity or claims.found(new_identity())
        write_identity(layout, identity)
    elif identity != expected:
        raise StoreError(f"{layout.claims} has lost its content", hint="run `forge store rebuild`")
    return expected or identity


def _open_index(layout: Layout, lock: Lock) -> Index:
    """The index; what is no database any more is removed, if nobody else has the store open, and built anew."""
    try:
        return Index(layout.index)
    except DiskError:
        raise
    except StoreError:
        if not lock.alone():
            raise
        remove_database(layout.index)
        lock.share()
        return Index(layout.index)
