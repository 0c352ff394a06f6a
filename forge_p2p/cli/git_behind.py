"""What is left to do once git has gone: a standby for the runs to come, a check of what came as it was, a hot pack.

A process of its own, `python -m forge_p2p.cli.git_behind HOME STANDBY VERIFY GIT [REVISION [NAME]]`. A clone goes on to
its checkout when the helper ends, and wants every processor for that; so this one imports nothing before git has ended,
and the check has what is left of the processors even then.
"""

import fcntl
import os
import select
import sys
from collections.abc import Sequence
from contextlib import suppress

from forge_p2p.cli.processes import name_and_parent

PROGRAM = "forge_p2p.cli.git_behind"

PATIENCE = 600.0
"""Seconds after which git is waited for no longer."""

LOCK = "behind.lock"
"""In the node's folder."""

YES, NO = "yes", "no"

_GIT = "git"


def main() -> int:
    """Does what the words ask for, one thing after the other."""
    home, standby, verify, git, *hot = sys.argv[1:]
    if git:
        wait_for(int(git))
    if standby == YES:
        _have_standby(home)
    if verify != YES and not hot:
        return 0
    step_back()
    _wait_for_others(home)
    # In the repository's folder, not by its path: what is cloned may be renamed by now.
    from forge_p2p.cli.main import main as forge

    if verify == YES and (code := forge(["--home", home, "git", "verify", "--git-dir", "."])):
        return code
    return forge(["--home", home, "git", "keep-hot", "--", ".", *hot]) if hot else 0


def leave_behind(
    home: str, folder: str, *, standby: bool, verify: bool, above: int | None = None, hot: Sequence[str] = ()
) -> None:
    """Starts it. `folder`: the repository that is to be checked, or that a hot pack is made of: `hot` says of which
    revision, and for which name where the repository does not tell. `above`: as `git_above` gives it."""
    import subprocess

    words = (home, YES if standby else NO, YES if verify else NO, "" if above is None else str(above), *hot)
    subprocess.Popen(
        [sys.executable, "-P", "-m", PROGRAM, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd=folder,
        pass_fds=() if above is None else (above,),
    )


def step_back() -> None:
    """Leaves the processor to whoever else wants it. Where the kernel shares it out by sessions first, as on desktops,
    the priority of a process counts within its session alone (sched(7), autogroup): so the session steps back, too."""
    os.nice(19)
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    if os.getsid(0) == os.getpid():
        with suppress(OSError), open("/proc/self/autogroup", "w", encoding="ascii") as file:
            file.write("19")


def wait_for(process: int) -> None:
    """Until a process has ended, by the descriptor that tells of it; not for ever."""
    ended = select.poll()
    ended.register(process, select.POLLIN)
    ended.poll(PATIENCE * 1000)


def _wait_for_others(home: str) -> None:
    """One at a time for each node: a hundred clones at once would else need the memory of a hundred checks. The lock is
    this process's until it ends; without one (a full disk) it goes on as well."""
    with suppress(OSError):
        lock = os.open(os.path.join(home, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)


def _have_standby(home: str) -> None:
    """As long as the node is up that it stands beside."""
    from pathlib import Path

    from forge_p2p.errors import ForgeError
    from forge_p2p.node.control import NoNode, call
    from forge_p2p.node.home import Home

    with suppress(NoNode, ForgeError):
        call(Home(Path(home)), "git_standby", {})


def git_above(process: int) -> int | None:
    """The outermost of the git commands that have led to a process, as a descriptor that tells of its end; `None` where
    none is found, or the system has no such descriptors."""
    found = 0
    try:
        above = name_and_parent(process)[1]
        while True:
            name, parent = name_and_parent(above)
            if name != _GIT:
                return os.pidfd_open(found) if found else None
            found, above = above, parent
    except OSError:
        return None


if __name__ == "__main__":
    sys.exit(main())
