"""Content-addressed storage: on disk, in memory, and the hot tier above either."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from forge_p2p.config import StoreConfig
    from forge_p2p.store.base import Heal, Store


def open_store(path: "str | os.PathLike[str]", config: "StoreConfig", heal: "Heal | None" = None) -> "Store":
    """Opens the store at `path`, making it if there is none, with the hot tier above it if `config` has one.

    `heal` is called with the hashes of chunks that were found damaged; it must not block. Raises `StoreError` for a
    store of another format, `DiskError` and `DiskFull` for what the operating system refuses. Several processes may
    have one store open; after a fork the child has to open its own.
    """
    from pathlib import Path

    from forge_p2p.store.opening import open_disk_store

    return open_disk_store(Path(path), config, heal)
