"""git started without `subprocess`, whose imports take as long as starting Python itself: for who has to be quick."""

import os
from _signal import SIGPIPE  # type: ignore[import-not-found]  # `signal` itself imports more than all of this
from collections.abc import Mapping, Sequence


def spawn(words: Sequence[str], environment: Mapping[str, str], stdin: int, stdout: int, *, quiet: bool = False) -> int:
    """The process of `git WORDS`; of open files it gets these two, and this process's standard error unless `quiet`."""
    files = [(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, stdout, 1)]
    silent = [(os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)] if quiet else []
    # Python ignores the signal, and what a process ignores those that it starts would ignore, too.
    return os.posix_spawnp("git", ["git", *words], environment, file_actions=[*files, *silent], setsigdef=[SIGPIPE])


def output_of(words: Sequence[str], environment: Mapping[str, str]) -> bytes:
    """What `git WORDS` prints, whether it goes well or not."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    reading, writing = os.pipe()
    process = spawn(words, environment, nothing, writing, quiet=True)
    os.close(nothing)
    os.close(writing)
    with open(reading, "rb") as file:
        output = file.read()
    os.waitpid(process, 0)
    return output
