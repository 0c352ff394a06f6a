"""`open_store`: the one way to a store on disk. Imports what it needs when called, so that programs start fast."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from forge_p2p.config import StoreConfig

if TYPE_CHECKING:
    from forge_p2p.store.base import Heal, Progress, Rebuilt, Store


def open_store(path: str | os.PathLike[str], config: StoreConfig, heal: "Heal | None" = None) -> "Store":
    """Opens the store at `path`, making it if there is none, with the hot tier above it if `config` has one.

    `heal` is called with the hashes of chunks that were found damaged; it must not block. Raises `StoreError` for a
    store of another format, `DiskError` and `DiskFull` for what the operating system refuses. Several processes may
    have one store open, but not a process and one that was forked from it meanwhile.
    """
    from forge_p2p.store.opening import open_disk_store

    store = open_disk_store(Path(path), config, heal)
    if not config.hot_bytes:
        return store
    from forge_p2p.store.hot import HotStore

    return HotStore(store, config.hot_bytes)


def repair_store(path: str | os.PathLike[str], config: StoreConfig, progress: "Progress | None" = None) -> "Rebuilt":
    """Makes a store sound again that cannot be opened any more. Raises `StoreError` if a process has it open."""
    from forge_p2p.store.salvage import repair

    return repair(Path(path), config, progress)
