"""Runs code as a user whom file permissions hold for, even when the tests run as root."""

import os
import traceback
from collections.abc import Callable
from pathlib import Path

NOBODY = 65534


def run_unprivileged(work: Callable[[], None], owned: Path, *foreign: Path) -> None:
    """Runs `work` in a child process that is not root, to whom all below `owned` is given first, but for `foreign`.
    Fails as it fails. What is to be foreign needs root."""
    if os.geteuid() == 0:
        _give(owned)
        for path in foreign:
            os.lchown(path, 0, 0)
    elif foreign:
        raise AssertionError("this test gives files to another user: run the tests as root, in a container perhaps")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            work()
            status = 0
        except BaseException:  # noqa: BLE001 - reported, and never back into the parent's test run
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "see the traceback above"


def _give(top: Path) -> None:
    for folder, directories, files in os.walk(top):
        for name in [*directories, *files]:
            os.lchown(os.path.join(folder, name), NOBODY, NOBODY)
    os.lchown(top, NOBODY, NOBODY)
    for above in top.parents:
        if above != Path("/") and not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o011)
