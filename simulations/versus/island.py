"""A network of its own, whose kernel counts: what nodes send each other, whoever sends it and for whatever reason."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from simulations.versus.peers import program
from simulations.versus.process import Failed, Words, words

HEADERS = 28
"""Bytes of IPv4's and UDP's headers."""


class Island:
    """A network namespace in which only loopback is up. It ends with its context, after what runs in it."""

    def __init__(self) -> None:
        script = f"{program('ip')} link set lo up && echo up && exec cat"
        self._keeper = subprocess.Popen(
            [program("unshare"), "--map-root-user", "--net", "sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._keeper.stdout is not None
        if self._keeper.stdout.readline() != "up\n":
            self._end()
            raise Failed("no network namespace could be made: allow user namespaces, or run it as root")

    @property
    def entering(self) -> Sequence[str]:
        """What is put before the words of a command to run it in there."""
        target = ["--target", str(self._keeper.pid)]
        return [program("nsenter"), *target, "--user", "--net", "--preserve-credentials"]

    def inside(self, command: Words) -> Sequence[str]:
        """The words that run `command` in it."""
        return [*self.entering, *words(command)]

    def sent(self) -> int:
        """UDP payload bytes that were sent in it so far, by anyone. All of any other packet counts."""
        octets = _counter(self._keeper.pid, "netstat", "IpExt", "OutOctets")
        return octets - HEADERS * _counter(self._keeper.pid, "snmp", "Udp", "OutDatagrams")

    def _end(self) -> None:
        self._keeper.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()


def _counter(process: int, file: str, group: str, name: str) -> int:
    """One of the kernel's counters for the network in which `process` is."""
    lines = Path(f"/proc/{process}/net/{file}").read_text().splitlines()
    heads, values = (line.split() for line in lines if line.startswith(f"{group}:"))
    return int(values[heads.index(name)])
