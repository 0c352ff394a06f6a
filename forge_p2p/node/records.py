"""Small files of the node's folder that are replaced as a whole: the new content or the old one, whatever happens;
whether any of them has changed."""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from forge_p2p.writeback import sync_folder

TICK: Final = 100_000_000
"""Nanoseconds within which a file system may give two changes the same time."""


def write_record(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Writes `path`, readable by its owner only, and its folder if there is none. `durable`: it outlives a crash of the
    machine. Raises `OSError`."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.parent / f".{os.getpid()}.{os.urandom(4).hex()}"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if durable:
        sync_folder(path.parent)


def stamp_of(paths: Iterable[Path]) -> tuple[int, ...]:
    """Changes whenever one of these files and folders is made, changed or removed. Take it before you read. While a
    change is so fresh that the next may bear the same time, no two are equal."""
    stamps = tuple(map(_time_of, paths))
    now = time.time_ns()
    return (*stamps, now) if max(stamps) > now - TICK else stamps


def _time_of(path: Path) -> int:
    """When it was last changed, in nanoseconds since 1970; 0 if there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def newest_first(folder: Path) -> list[Path]:
    """The records of a folder by the time they were written. Raises `OSError`."""
    paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True)
