"""Programs on the hosts of a lab: started, spoken to, stopped, and measured from outside."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from simulations.labs import ownership
from simulations.labs.tools import LabError

Words = Sequence[str | os.PathLike[str]]

PATIENCE = 60.0
"""Seconds in which a program that is to say something says it, on a busy machine."""


class Program:
    """One program in one network namespace, the head of a process group of its own.

    Its standard input and output are pipes to the lab, its errors go to `log`. `cpu` (seconds) and `peak` (resident
    bytes) are known once it has ended; they include the children that it waited for.
    """

    def __init__(self, namespace: str, words: Words, log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.name = " ".join(os.fspath(word) for word in words)
        self.cpu = 0.0
        self.peak = 0
        self.ended = 0.0
        """When it was seen to have ended, by the monotonic clock; 0 before."""
        self._log = log
        self._said = b""
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [*ownership.entering(namespace), *words],
                env={**os.environ, **(environment or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def line(self, patience: float = PATIENCE) -> str:
        """The next line of its standard output. Raises `LabError` when none comes."""
        end = time.monotonic() + patience
        while b"\n" not in self._said:
            if not self._more(end - time.monotonic()):
                raise LabError(f"{self.name}: said nothing more; {self.errors()}")
        line, _, self._said = self._said.partition(b"\n")
        return line.decode("utf-8", "replace")

    def lines(self) -> list[str]:
        """Waits for more of its standard output; the whole lines that came, none at its end."""
        while self._more(PATIENCE):
            if b"\n" in self._said:
                said, _, self._said = self._said.rpartition(b"\n")
                return said.decode("utf-8", "replace").split("\n")
        return []

    def fileno(self) -> int:
        """Of its standard output, for `select`."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def rest(self) -> str:
        """All that it said until its end and that was not read yet."""
        while self._more(PATIENCE):
            pass
        said, self._said = self._said, b""
        return said.decode("utf-8", "replace")

    def tell(self, line: str = "go") -> None:
        """Writes a line to its standard input. A program that has ended does not hear it."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()

    def send_signal(self, number: int) -> None:
        """To all of its group."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def poll(self) -> int | None:
        """Its exit code; None while it runs. Negative: the signal that ended it."""
        self._reap(os.WNOHANG)
        return self._process.returncode

    def wait(self, patience: float = PATIENCE) -> int:
        """Its exit code. Raises `LabError` when it does not end."""
        end = time.monotonic() + patience
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise LabError(f"{self.name}: did not end within {patience:.0f} s; {self.errors()}")
            time.sleep(0.01)
        return code

    def stop(self, number: int = signal.SIGTERM, patience: float = 10.0) -> None:
        """Ends it: by `number`, and where that does not help, by SIGKILL."""
        if self.poll() is None:
            self.send_signal(signal.SIGCONT)
            self.send_signal(number)
            with suppress(LabError):
                self.wait(patience)
        self.send_signal(signal.SIGKILL)
        self._reap(0)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()

    def errors(self) -> str:
        """The end of its log."""
        return self._log.read_text("utf-8", "replace")[-2000:].strip() or "its log is empty"

    def _more(self, patience: float) -> bool:
        """Reads on. False at the end of output, or when nothing comes in time."""
        ready, _, _ = select.select([self], [], [], max(0.0, patience))
        more = os.read(self.fileno(), 65_536) if ready else b""
        self._said += more
        return bool(more)

    def _reap(self, options: int) -> None:
        if self._process.returncode is not None:
            return
        pid, status, usage = os.wait4(self.pid, options)
        if pid:
            self._process.returncode = os.waitstatus_to_exitcode(status)
            self.ended = time.monotonic()
            self.cpu, self.peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
