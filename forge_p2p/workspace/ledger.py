"""What a restore has done so far and what went wrong, shared by the threads that write."""

import os
from dataclasses import dataclass, field

from forge_p2p.content.pathtext import path_text
from forge_p2p.workspace.faults import disk_error, is_fatal
from forge_p2p.workspace.found import Found


@dataclass(frozen=True, slots=True)
class Failure:
    """One path that is not as the snapshot has it."""

    path: bytes
    reason: str

    def __str__(self) -> str:
        return f"{path_text(self.path)}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`written` and `unchanged` count files, `bytes_written` their content. Nothing failed: the destination holds the
    snapshot."""

    written: int
    unchanged: int
    bytes_written: int
    deleted: int
    failures: list[Failure]


@dataclass(slots=True)
class Ledger:
    """Dictionaries, for their single operations are atomic between threads."""

    top: bytes
    """The destination's path."""
    done: dict[bytes, Found] = field(default_factory=dict)
    """What is right, with the `stat` it was left with."""
    failed: dict[bytes, str] = field(default_factory=dict)
    unlocked: dict[bytes, int] = field(default_factory=dict)
    """Directories whose mode was widened to write in them, and what it was."""

    def fail(self, path: bytes, done: str, error: OSError, size: int = 0) -> None:
        """Writes down why a path could not be `done` ("written"); raises `DiskError` or `DiskFull` if every other path
        would meet the same."""
        if is_fatal(error):
            raise disk_error(done, os.path.join(self.top, path), error, size) from error
        self.failed.setdefault(path, f"it cannot be {done}: {error.strerror or error}")
