"""Words that a process holds in a folder while it lives, so that the next one can tell what a killed one has left.

Each is a lock file; the kernel lets its lock go with the process, whatever ends it.
"""

import fcntl
import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claim:
    """`word`: 16 hexadecimal digits. `lock`: the open lock file."""

    word: bytes
    lock: int

    def release(self) -> None:
        """Lets the word go; its lock file stays for whoever removes what belongs to it."""
        os.close(self.lock)


def claim(folder: bytes, prefix: bytes) -> Claim:
    """A new word; its lock file is `prefix` and the word. Raises `OSError`."""
    while True:
        word = os.urandom(8).hex().encode()
        path = os.path.join(folder, prefix + word)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(path):
            return Claim(word, lock)
        os.close(lock)  # somebody took it for a dead one's before it was locked


def is_dead(folder: bytes, prefix: bytes, word: bytes) -> bool:
    """Whether nobody holds this word."""
    try:
        descriptor = os.open(os.path.join(folder, prefix + word), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
