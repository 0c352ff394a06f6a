"""Leases: what a running ingest has seen stays. A lease is a locked file holding the epoch in which it began.

The order is what makes it safe: the lock is taken first, the epoch read afterwards. A collector that condemns in epoch
E and then looks for leases either finds the lease, or the lease began after E ended and knows what is condemned. A
file whose epoch is not written yet counts as the oldest.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from forge_p2p.errors import StoreError
from forge_p2p.store.faults import disk_errors
from forge_p2p.store.locks import Lock, lock_file


class Lease:
    """Held from the start of an ingest to its end, or to the end of its process."""

    def __init__(self, folder: Path, epoch: Callable[[], int]) -> None:
        path = folder / f"{os.getpid()}-{os.urandom(8).hex()}"
        lock = lock_file(path, wait=True)  # a collector may look at it between its creation and its locking
        if lock is None:
            raise StoreError(f"{path}: the folder of leases is gone", hint="run `forge store rebuild`")
        self._lock: Lock = lock
        try:
            self.restart(epoch())
        except BaseException:
            self.release()
            raise

    def restart(self, epoch: int) -> None:
        """From now on the lease is one that began in `epoch`."""
        with disk_errors(self._lock.path, 8):
            os.pwrite(self._lock.fd, epoch.to_bytes(8, "little"), 0)

    def release(self) -> None:
        with suppress(OSError):  # a collector removes what is left
            self._lock.path.unlink()
        self._lock.release()


def oldest_epoch(folder: Path) -> int | None:
    """The epoch in which the oldest running ingest began; `None` if none runs. Removes what dead ones left."""
    oldest = None
    with disk_errors(folder):
        names = os.listdir(folder)
    for name in names:
        path = folder / name
        lock = lock_file(path)
        if lock is not None:
            with suppress(OSError):
                path.unlink()
            lock.release()
            continue
        with disk_errors(path), suppress(FileNotFoundError):
            epoch = int.from_bytes(path.read_bytes()[:8], "little")
            oldest = epoch if oldest is None else min(oldest, epoch)
    return oldest
