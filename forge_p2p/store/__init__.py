"""Content-addressed storage: on disk, in memory, and the hot tier above either."""

from forge_p2p.store.factory import open_store, repair_store

__all__ = ["open_store", "repair_store"]
