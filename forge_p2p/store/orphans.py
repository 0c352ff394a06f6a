"""What crashes leave behind: data files that no index knows, journals without data, staging folders of the dead."""

import os
from contextlib import suppress
from typing import Final

from forge_p2p.store.context import Context
from forge_p2p.store.environment import Transaction
from forge_p2p.store.faults import disk_errors
from forge_p2p.store.journals import Recovered, recover
from forge_p2p.store.layout import DATA_SUFFIX, JOURNAL_SUFFIX, Layout, file_id_of
from forge_p2p.store.locks import lock_folder
from forge_p2p.store.staging import KEYLESS, remove_folder

KEPT_FOR: Final = 7 * 86400.0
"""Seconds that an interrupted transfer may be resumed for."""

_SETTLED: Final = 60.0
"""Seconds after which a file without its partner is not just being moved."""


def adopt_all(context: Context) -> int:
    """Makes known every data file that a commit moved into place and did not come to index; returns how many."""
    with disk_errors(context.layout.files):
        folders = sorted(os.listdir(context.layout.files))
    return sum(adopt(context, int(name, 16)) for name in folders if len(name) == 2)


def adopt(context: Context, prefix: int) -> int:
    """As `adopt_all`, of the one folder with this first byte."""
    folder = context.layout.files / f"{prefix:02x}"
    names: list[str] = []
    with disk_errors(folder), suppress(FileNotFoundError):
        names = os.listdir(folder)
    ids = {file_id for name in names if name.endswith(DATA_SUFFIX) and (file_id := file_id_of(name)) is not None}
    with context.index.environment.read() as transaction:
        unknown = [file_id for file_id in sorted(ids) if context.index.file(transaction, file_id) is None]
    return sum(_adopt_file(context, file_id) for file_id in unknown)


def _adopt_file(context: Context, file_id: int) -> bool:
    recovered = recover(context.layout.data_file(file_id), context.layout.journal(file_id), file_id)
    if recovered is None or not recovered.entries:
        return False
    publish_recovered(context, file_id, recovered)
    return True


def publish_recovered(context: Context, file_id: int, recovered: Recovered) -> None:
    """Makes a verified file known, as old as its journal, if a collector has not just removed it."""
    index, path = context.index, context.layout.data_file(file_id)

    def work(transaction: Transaction) -> None:
        with disk_errors(path):
            if not path.exists():
                return
            size = path.stat().st_size
        entries = context.claims.not_inline(transaction, recovered.entries)
        created = float(recovered.head.created)
        index.environment.write(lambda inner: index.publish(inner, file_id, size, entries, created))

    context.claims.environment.write(work)


def remove_stale_staging(layout: Layout, now: float) -> None:
    """Removes staging folders whose owner is gone: without a key at once, with one after `KEPT_FOR`."""
    with disk_errors(layout.staging):
        names = os.listdir(layout.staging)
    for name in names:
        path = layout.staging / name
        lock = lock_folder(path)
        if lock is None:
            continue
        try:
            with disk_errors(path), suppress(FileNotFoundError):
                newest = max([path.stat().st_mtime, *(entry.stat().st_mtime for entry in os.scandir(path))])
                if name.startswith(KEYLESS) or newest < now - KEPT_FOR:
                    remove_folder(path)
        finally:
            lock.release()


def remove_lone_journals(layout: Layout, now: float) -> None:
    """Removes journals in `files/` whose data file is gone for good."""
    with disk_errors(layout.files):
        journals = list(layout.files.glob(f"*/*{JOURNAL_SUFFIX}"))
    for path in journals:
        with disk_errors(path), suppress(FileNotFoundError):
            if not path.with_suffix(DATA_SUFFIX).exists() and path.stat().st_mtime < now - _SETTLED:
                path.unlink()
