"""Moving finished data files from staging into `files/`, durably: what can take long first, the renames afterwards.

The renames happen inside the transaction that makes the files known. So whoever sees a file in `files/` that no index
knows, and holds the lock of the claims, sees the work of a process that is dead.

The journal is renamed first: a data file in `files/` therefore always has its journal, and what a crash leaves half
moved is told apart by the data file's place alone.
"""

from collections.abc import Sequence

from forge_p2p.errors import DiskError
from forge_p2p.store.appender import Appender
from forge_p2p.store.durable import sync_folder
from forge_p2p.store.faults import disk_errors
from forge_p2p.store.layout import Layout


def prepare(layout: Layout, appenders: Sequence[Appender]) -> None:
    """Makes the files' content durable, and the folders they go to. Raises `DiskFull` or `DiskError`."""
    for appender in appenders:
        appender.bulk.start(appender.size)
    for appender in appenders:
        appender.sync()
    for folder in {layout.data_folder(appender.file_id) for appender in appenders}:
        with disk_errors(folder, 4096):
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
                sync_folder(layout.files)


def place(layout: Layout, appenders: Sequence[Appender]) -> None:
    """Renames the files and makes their names durable. Safe to repeat after a failure of a rename."""
    for appender in appenders:
        appender.move(layout.data_file(appender.file_id), layout.journal(appender.file_id))
    try:
        for folder in {layout.data_folder(appender.file_id) for appender in appenders}:
            sync_folder(folder)
    except DiskError:
        for appender in appenders:
            appender.broken = True
        raise
