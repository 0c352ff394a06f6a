"""Many questions about objects to one process, which answers line by line: `git cat-file --batch-check`."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

AT_ONCE: Final = 256
"""Lines under way: what is asked and what is answered then fit the pipes, so that neither side waits for the other."""


class Batch:
    """`process` answers each line of its input with one of its output. Context manager; leaving it ends the process."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._source, self._sink = process.stdout, process.stdin

    def ask(self, lines: Sequence[bytes]) -> list[bytes]:
        """The answers to lines without line ends. Raises `EOFError` when the process has ended."""
        return [answer for first in range(0, len(lines), AT_ONCE) for answer in self._some(lines[first:][:AT_ONCE])]

    def _some(self, lines: Sequence[bytes]) -> Iterator[bytes]:
        try:
            self._sink.write(b"".join(line + b"\n" for line in lines))
            self._sink.flush()
        except BrokenPipeError:
            raise EOFError from None
        for _ in lines:
            answer = self._source.readline()
            if not answer.endswith(b"\n"):
                raise EOFError
            yield answer.removesuffix(b"\n")

    def close(self) -> None:
        """Lets the process go, and waits for it."""
        with suppress(BrokenPipeError):
            self._sink.close()
        self._source.close()
        self._process.wait()
