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
from contextlib import suppress
from pathlib import Path

NAMESPACES = Path("/run/netns")
SHARED_MEMORY = Path("/dev/shm")
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


def remove_namespace(name: str) -> None:
    """Kills what runs inside, then removes it and so every interface in it."""
    listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False).stdout
    for pid in listed.split():
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


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
