"""What a run has made on this machine, findable by name, so that nothing outlives it.

Everything is called `forgelab-PID-START-…`, after the process that runs the lab and the moment it started. A run
removes what it made when it ends; what a run that was killed has left is removed by the next one, which sees that no
such process lives any more. Nothing with another name is ever touched.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from simulations.labs.tools import program

NAMESPACES = Path("/run/netns")
SHARED_MEMORY = Path("/dev/shm")
PATIENCE = 10.0
"""Seconds in which a process that was killed is gone."""
OWNED = re.compile(r"forgelab-(?P<pid>\d+)-(?P<start>\d+)-")


def prefix() -> str:
    """Of all names that this process gives."""
    return f"forgelab-{os.getpid()}-{_start_time(os.getpid())}-"


def sweep(*folders: Path) -> list[str]:
    """Removes namespaces, with the processes in them, and what lies in the places for work, or in `folders`, of runs
    that have ended. Their names."""
    left = [name for name in _names(NAMESPACES) if _is_orphan(name)]
    for name in left:
        remove_namespace(name)
    for parent in {SHARED_MEMORY, Path(tempfile.gettempdir()), *folders}:
        for name in _names(parent):
            if _is_orphan(name):
                shutil.rmtree(parent / name, ignore_errors=True)
                left.append(name)
    return left


def entering(name: str) -> list[str]:
    """The words of the command that runs what follows them inside the namespace."""
    return [program("nsenter"), f"--net={NAMESPACES / name}", "--"]


def remove_namespace(name: str) -> None:
    """Kills what runs inside and what is about to, then removes it and so every interface in it."""
    end = time.monotonic() + PATIENCE
    while (pids := _about_to_enter(name) | _inside(name)) and time.monotonic() < end:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _about_to_enter(name: str) -> set[int]:
    """Processes that were started but are not inside yet: on a busy machine that takes a while."""
    words = "\0".join(entering(name)).encode()
    found = set()
    for pid in filter(str.isdigit, _names(Path("/proc"))):
        with suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(words):
                found.add(int(pid))
    return found


def _inside(name: str) -> set[int]:
    listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False).stdout
    return {int(pid) for pid in listed.split()}


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def _is_orphan(name: str) -> bool:
    match = OWNED.match(name)
    return match is not None and _start_time(int(match["pid"])) != int(match["start"])


def _start_time(pid: int) -> int:
    """Clock ticks from boot to the process's start; 0 where there is no such process."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text("utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(status.rpartition(")")[2].split()[19])
