"""Operation: git_standby. The node that is up starts the process that gives runs of git's helper a child of its own.

It is the node that does, so that it lives as long as the node does, and not as the job or the terminal in which
somebody happened to run git first.
"""

import fcntl
import os
import subprocess
import sys
from typing import Final

from forge_p2p.node.home import Home
from forge_p2p.node.local import LocalNode, Report
from forge_p2p.node.repositories.results import StandbyResult

PROGRAM: Final = "forge_p2p.cli.standby.answering"


def start(node: LocalNode, *, report: Report) -> StandbyResult:  # noqa: ARG001
    """Starts it, unless there is one. Blocks for a moment."""
    lock = held_lock(node.home)
    if lock is None:
        return StandbyResult(started=False)
    os.close(lock)  # two that are started at once settle it among themselves
    subprocess.Popen(
        [sys.executable, "-P", "-m", PROGRAM, str(node.home.path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )
    return StandbyResult(started=True)


def held_lock(home: Home) -> int | None:
    """The standby's lock as a descriptor; `None` if one lives that holds it."""
    descriptor = os.open(home.path / "standby.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
