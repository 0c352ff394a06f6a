"""Opening a store: its folder is made if there is none, its index rebuilt if that is missing or not whole."""

from pathlib import Path

from forge_p2p.config import StoreConfig
from forge_p2p.errors import StoreError
from forge_p2p.store.base import Heal
from forge_p2p.store.claims import Claims
from forge_p2p.store.context import Context
from forge_p2p.store.datafiles import DataFiles
from forge_p2p.store.disk import DiskStore
from forge_p2p.store.environment import Transaction
from forge_p2p.store.faults import disk_errors
from forge_p2p.store.index import Index
from forge_p2p.store.layout import Layout
from forge_p2p.store.locks import lock_file


def open_disk_store(path: Path, config: StoreConfig, heal: Heal | None = None) -> DiskStore:
    """The disk store at `path`. Raises `StoreError` for another format, `DiskError` for what the system refuses."""
    layout = Layout(path)
    for folder in layout.folders():
        with disk_errors(folder, 4096):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = lock_file(layout.lock, shared=True, wait=True)
    if lock is None:
        raise StoreError(f"{path} was removed while it was being opened")
    claims = Claims(layout.claims)
    identity = claims.identity() or claims.found()
    index = Index(layout.index)
    context = Context(layout, config, claims, index, DataFiles(layout), heal)
    if not index.whole_for(identity):

        def work(transaction: Transaction) -> None:
            index.set_whole(transaction, identity)

        index.environment.write(work)
    return DiskStore(context, lock)
