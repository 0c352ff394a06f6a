"""Runs programs and measures them from outside."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

Words = Sequence[str | os.PathLike[str]]

LAUNCHER = Path(__file__).with_name("launcher.py")


class Failed(Exception):
    """A program that should have worked did not. The message ends with what it said."""


@dataclass(frozen=True, slots=True)
class Finished:
    """One run of a whole command: wall and processor seconds, and peak resident bytes of its largest process."""

    seconds: float
    cpu: float
    peak: int
    output: str


def measure(
    command: Words, *, environment: Mapping[str, str] | None = None, folder: Path | None = None, within: Words = ()
) -> Finished:
    """Runs `command` from start to exit. `within`: as of `Service`. Raises `Failed` unless it exits with 0."""
    with Service(command, environment, folder, within) as service:
        return service.finished()


def _environment() -> dict[str, str]:
    """This process's own, but that Python programs keep what they compile, as they do when they are installed."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class Service:
    """A program that runs beside others until the context is left. `peak` is then its peak memory in bytes. `within`:
    what is put before the words of a program to have it run elsewhere, as `Island.entering`; its time is not counted.
    """

    def __init__(
        self,
        command: Words,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        within: Words = (),
    ) -> None:
        self.peak = 0
        self._name = " ".join(words(command))
        with ExitStack() as opened:
            self._output = opened.enter_context(tempfile.TemporaryFile())
            self._errors = opened.enter_context(tempfile.TemporaryFile())
            self._report = opened.enter_context(tempfile.NamedTemporaryFile())
            self._process = subprocess.Popen(
                [*within, sys.executable, "-I", "-S", os.fspath(LAUNCHER), self._report.name, *words(command)],
                env={**_environment(), **(environment or {})},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._errors,
            )
            self._opened = opened.pop_all()

    def last_line(self, patience: float = 120.0) -> str:
        """The last line of its standard output, as soon as there is one. Raises `Failed` when it ends before that."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            lines = _text(self._output).splitlines(keepends=True)
            if lines and lines[-1].endswith("\n"):
                return lines[-1].strip()
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        raise Failed(f"{self._name}\nsaid nothing: {_text(self._errors)}")

    def wait_until(self, ready: Callable[[], bool], patience: float = 10.0) -> None:
        """Until it has made something so. Raises `Failed` when it does not, or ends before."""
        end = time.monotonic() + patience
        while not ready():
            if time.monotonic() > end or self._process.poll() is not None:
                raise Failed(f"{self._name}\ndid not become ready: {_text(self._errors)}")
            time.sleep(0.01)

    def finished(self) -> Finished:
        """Waits for its end. Raises `Failed` unless that is 0."""
        if self._process.wait() != 0:
            raise Failed(f"{self._name}\nended with {self._process.returncode}: {_text(self._errors)}")
        seconds, cpu, peak = _text(self._report).split()
        return Finished(float(seconds), float(cpu), int(peak), _text(self._output))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._opened:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGINT)
            self._process.wait()
            self.peak = int((_text(self._report) or "0").split()[-1])


def words(command: Words) -> list[str]:
    """The command as the system takes it."""
    return [os.fspath(word) for word in command]


def _text(file: "IO[bytes] | tempfile._TemporaryFileWrapper[bytes]") -> str:
    return os.pread(file.fileno(), 1 << 24, 0).decode("utf-8", "replace")
