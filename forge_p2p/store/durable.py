"""Names and small files that survive a power cut."""

import os
from pathlib import Path

from forge_p2p import writeback
from forge_p2p.store.faults import disk_errors


def write_durably(path: Path, content: bytes) -> None:
    """Writes a small file whole or not at all."""
    temporary = path.with_suffix(f".{os.getpid()}.new")
    with disk_errors(path, len(content)):
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(fd)
            temporary.rename(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


def sync_folder(path: str | os.PathLike[str]) -> None:
    """Makes the names in a folder durable."""
    with disk_errors(path):
        writeback.sync_folder(path)
