"""What a run hands over, as bytes: words, environment, umask and priority. Descriptors follow when it is accepted.

    length of what follows (4 bytes, big-endian)
    code, umask, priority, count of words, words, variables: each as text, with a zero between two

`code` says who would do the run if nobody took it over: a Python and where its code is, or the path of a program that
a Python runs, from who is no Python (`bin/git-remote-forge`). Who asks, and what that may, is not said: the kernel
tells (`processes.rights`).

Imports as little as there can be: it is read before the standby is found.
"""

import os
import sys
from collections.abc import Iterable

SOCKET = "standby.sock"
"""In the node's folder."""

SWITCH = "FORGE_STANDBY"
"""0 in the environment: do without."""

ACCEPTED, GO = b"\1", b"\2"
"""From the standby: a child is there, of the same code. From the run, with descriptors: begin; it does nothing itself
from here on. Not before: what lies in the socket of who does not answer holds open what others wait to see closed."""

DECLINED = 255
"""Instead of an exit code: nothing was done, the run has to do it itself after all."""

DESCRIPTORS = 4
"""Standard input, output and error, and the working directory."""

LENGTH_SIZE = 4


_LEADS_PYTHON = (b"PYTHONHOME=", b"PYTHONPATH=", b"PYTHONUSERBASE=")
"""Variables by which Python finds other code."""

_READ = os.stat(__file__).st_mtime_ns
"""When the code was installed that this process has read."""


class Outdated(ValueError):
    """The code that is installed is not what this process has read."""


def _code() -> bytes:
    """Which Python this is, and where its code is."""
    return repr((sys.executable, __file__)).encode(errors="surrogateescape")


def _is_outdated() -> bool:
    try:
        return os.stat(__file__).st_mtime_ns != _READ
    except OSError:
        return True


def _variables() -> list[bytes]:
    return [name + b"=" + value for name, value in os.environb.items()]


def _would_be_ours(program: bytes, variables: Iterable[bytes]) -> bool:
    """Whether this program would be run by this Python, and find this code."""
    try:
        with open(program, "rb") as file:
            first = file.readline(1024)
    except (OSError, ValueError):
        return False
    ours, theirs = ({each for each in some if each.startswith(_LEADS_PYTHON)} for some in (_variables(), variables))
    return first.rstrip() == b"#!" + os.fsencode(sys.executable) and ours == theirs


def encoded(words: list[str]) -> bytes:
    """A run with these words, in this process's surroundings. Neither words nor variables can hold a zero."""
    umask = os.umask(0o077)
    os.umask(umask)
    numbers = (umask, os.getpriority(os.PRIO_PROCESS, 0), len(words))
    parts = (_code(), *(b"%d" % number for number in numbers), *map(os.fsencode, words), *_variables())
    body = b"\0".join(parts)
    return len(body).to_bytes(LENGTH_SIZE) + body


def become(body: bytes) -> list[str]:
    """Takes over the surroundings that a request tells of; its words. Raises `ValueError`, `Outdated`."""
    if _is_outdated():  # first of all: newer code may ask in another way
        raise Outdated("a run of newer code")
    code, umask, priority, count, *rest = body.split(b"\0")
    words, variables = rest[: int(count)], rest[int(count) :]
    if code != _code() and not _would_be_ours(code, variables):
        raise ValueError("a run by another Python, or of other code")
    os.umask(int(umask))
    os.setpriority(os.PRIO_PROCESS, 0, max(int(priority), os.getpriority(os.PRIO_PROCESS, 0)))
    os.environ.clear()
    for line in variables:
        name, _, value = line.partition(b"=")
        os.environb[name] = value
    return [os.fsdecode(word) for word in words]
