"""What the kernel tells of a process, by its number: proc(5). Raises `OSError` for one that cannot be seen.

Imports as little as there can be, as what is left behind git does, and for the same reason.
"""

import os
from typing import Final

_RIGHTS: Final = (b"Uid:", b"Gid:", b"Groups:", b"Cap", b"NoNewPrivs:", b"Seccomp:")
_LATER: Final = "_for_children"

Rights = tuple[object, ...]
"""To be compared, and nothing else."""


def name_and_parent(process: int) -> tuple[str, int]:
    """What it is called, and which process has started it."""
    name, _, parent, *_ = _stat(process)
    return name, int(parent)


def has_terminal(process: int) -> bool:
    """Whether it has a controlling terminal, where a person may be asked something."""
    return _stat(process)[5] != "0"


def _stat(process: int) -> list[str]:
    """proc_pid_stat(5), from the second field on."""
    with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
        stat = file.read()
    return [stat[stat.index("(") + 1 : stat.rindex(")")], *stat[stat.rindex(")") + 1 :].split()]


def rights(process: int) -> Rights:
    """Who it is, what it may, and what it sees: users and groups, capabilities, filters, security label, namespaces,
    and the root of its files. Equal for processes that can stand in for each other."""
    folder = f"/proc/{process}"
    with open(f"{folder}/status", "rb") as file:
        status = [line for line in file if line.startswith(_RIGHTS)]
    namespaces = [os.readlink(f"{folder}/ns/{each}") for each in os.listdir(f"{folder}/ns") if _LATER not in each]
    root = os.stat(f"{folder}/root")
    return status, namespaces, root.st_dev, root.st_ino, _label(folder)


def _label(folder: str) -> bytes:
    """Of AppArmor or SELinux, where there is one."""
    try:
        with open(f"{folder}/attr/current", "rb") as file:
            return file.read()
    except OSError:
        return b""
