"""Moving finished data files from staging into `files/`, durably.

The journal is renamed first: a data file in `files/` therefore always has its journal, and what a crash leaves half
moved is told apart by the data file's place alone.
"""

from collections.abc import Sequence

from forge_p2p.errors import DiskError
from forge_p2p.store.appender import Appender
from forge_p2p.store.durable import sync_folder
from forge_p2p.store.faults import disk_errors
from forge_p2p.store.layout import Layout


def land(layout: Layout, appenders: Sequence[Appender]) -> list[Appender]:
    """Syncs, renames, syncs the folders. Safe to repeat after a failure. Raises `DiskFull` or `DiskError`."""
    for appender in appenders:
        appender.behind.start(appender.size)
    for appender in appenders:
        appender.sync()
    folders = {layout.data_folder(appender.file_id) for appender in appenders}
    for folder in folders:
        with disk_errors(folder, 4096):
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
                sync_folder(layout.files)
    for appender in appenders:
        appender.move(layout.data_file(appender.file_id), layout.journal(appender.file_id))
    try:
        for folder in folders:
            sync_folder(folder)
    except DiskError:
        for appender in appenders:
            appender.broken = True
        raise
    return list(appenders)
