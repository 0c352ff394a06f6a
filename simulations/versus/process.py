"""Runs programs and measures them from outside."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self


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
    command: Sequence[str | os.PathLike[str]],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Finished:
    """Runs `command` from start to exit. Raises `Failed` unless it exits with 0."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            words(command), env=_environment(environment), cwd=folder, stdout=output, stderr=errors
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise Failed(f"{' '.join(words(command))}\nended with {process.returncode}: {_text(errors)}")
        return Finished(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, _text(output))


class Service:
    """A program that runs beside the measured ones, until the context is left. `peak` is then its peak memory."""

    def __init__(self, command: Sequence[str | os.PathLike[str]], environment: Mapping[str, str] | None = None) -> None:
        self.output = tempfile.TemporaryFile()  # noqa: SIM115 (closed when the context is left)
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115
        self.peak = 0
        self._process = subprocess.Popen(
            words(command),
            env=_environment(environment),
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=self.errors,
        )

    def last_line(self, patience: float = 120.0) -> str:
        """The last line of its standard output, as soon as there is one. Raises `Failed` when it ends before that."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            lines = _text(self.output).splitlines(keepends=True)
            if lines and lines[-1].endswith("\n"):
                return lines[-1].strip()
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        raise Failed(f"{self._process.args!r} said nothing: {_text(self.errors)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            _, status, usage = os.wait4(self._process.pid, 0)
            self._process.returncode = os.waitstatus_to_exitcode(status)
            self.peak = usage.ru_maxrss * 1024
        self.output.close()
        self.errors.close()


def words(command: Sequence[str | os.PathLike[str]]) -> list[str]:
    """The command as the system takes it."""
    return [os.fspath(word) for word in command]


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, **(more or {})}


def _text(file: IO[bytes]) -> str:
    return os.pread(file.fileno(), 1 << 24, 0).decode("utf-8", "replace")
