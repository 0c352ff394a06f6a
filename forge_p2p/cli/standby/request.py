"""What a run hands over, as bytes: words, environment, umask and priority. Descriptors travel beside them.

Imports as little as there can be: it is read before the standby is found.
"""

import os
import sys

SOCKET = "standby.sock"
"""In the node's folder."""

SWITCH = "FORGE_STANDBY"
"""0 in the environment: do without."""

ACCEPTED, GO = b"\1", b"\2"
"""From the standby: a child is there, of the same code. From the run: begin; it does nothing itself from here on."""

DESCRIPTORS = 4
"""Standard input, output and error, and the working directory."""

LENGTH_SIZE = 4


class Outdated(ValueError):
    """The code that is installed is not what this process has read."""


def _view() -> bytes:
    """What both sides have to have in common: Python, where the code is, and which files a path leads to."""
    root = os.stat("/")
    seen = (sys.executable, __file__, os.readlink("/proc/self/ns/mnt"), root.st_dev, root.st_ino)
    return repr(seen).encode(errors="surrogateescape")


_READ = b"%d" % os.stat(__file__).st_mtime_ns
"""When the code was installed that this process has read."""


def encoded(words: list[str]) -> bytes:
    """A run with these words, in this process's surroundings. Neither words nor variables can hold a zero."""
    umask = os.umask(0o077)
    os.umask(umask)
    numbers = (umask, os.getpriority(os.PRIO_PROCESS, 0), len(words))
    variables = (name + b"=" + value for name, value in os.environb.items())
    parts = (_view(), _READ, *(b"%d" % number for number in numbers), *map(os.fsencode, words), *variables)
    body = b"\0".join(parts)
    return len(body).to_bytes(LENGTH_SIZE) + body


def become(body: bytes) -> list[str]:
    """Takes over the surroundings that a request tells of; its words. Raises `ValueError`, `Outdated`."""
    view, read, umask, priority, count, *rest = body.split(b"\0")
    if view != _view():
        raise ValueError("a run by another Python, or one that sees other files")
    if read != _READ:
        raise Outdated("a run of other code")
    os.umask(int(umask))
    os.setpriority(os.PRIO_PROCESS, 0, max(int(priority), os.getpriority(os.PRIO_PROCESS, 0)))
    os.environ.clear()
    for line in rest[int(count) :]:
        name, _, value = line.partition(b"=")
        os.environb[name] = value
    return [os.fsdecode(word) for word in rest[: int(count)]]
