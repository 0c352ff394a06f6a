"""Where `git-remote-forge` starts: git runs it for `forge://NAME`, `forge://NETWORK/NAME` and `forge::TICKET`.

Standard output is git's protocol and nothing else; what is said to the person goes to standard error.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from forge_p2p.cli.settings import Settings
from forge_p2p.errors import ForgeError, UsageError
from forge_p2p.node.control import NoNode, call
from forge_p2p.node.home import Home
from forge_p2p.node.results import Progress, Result

FAILED = 128
"""git's own exit code for what ends a command."""

_SCHEME = "forge://"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the helper to its end; returns its exit code."""
    from forge_p2p.git.remote.helper import failure

    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(words)
    except ForgeError as error:
        sys.stderr.write(failure(error))
        return FAILED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        return 130


def _run(words: list[str]) -> int:
    from forge_p2p.git.calls import Node
    from forge_p2p.git.remote.helper import Helper
    from forge_p2p.git.remote.options import Options
    from forge_p2p.git.running import Git

    if len(words) < 2:
        raise UsageError("git runs git-remote-forge itself", hint="git clone forge://NAME")
    git_dir = os.environb.get(b"GIT_DIR")
    git = Git(git_dir, dict(os.environ)) if git_dir else None
    options = Options()
    caller = _Caller(Settings(), options_progress=lambda: options.progress)
    Helper(Node(caller, repository_named(words[1])), git, sys.stdin.buffer, sys.stdout.buffer, options).run()
    return 0


def repository_named(url: str) -> str:
    """The name, or the ticket, that a URL is for. Raises `UsageError`."""
    if not url.startswith(_SCHEME):
        return url
    name = url.removeprefix(_SCHEME).strip("/")
    if not name:
        raise UsageError(f"{url!r} names no repository", hint="a URL is like forge://NAME or forge://NETWORK/NAME")
    return name


class _Caller:
    """Runs operations in the node that is up, or here. Progress goes to standard error as git's own does."""

    def __init__(self, settings: Settings, options_progress: Callable[[], bool]) -> None:
        self._settings = settings
        self._home = Home(settings.home)
        self._shows = options_progress

    def __call__(
        self, name: str, arguments: dict[str, Any], on_bytes: Callable[[bytes], object] | None = None
    ) -> Result:
        meter = _Meter() if self._shows() else None
        try:
            return call(self._home, name, arguments, meter, on_bytes)
        except NoNode:
            from forge_p2p.node import inprocess

            return inprocess.run(self._home, self._settings.config, name, arguments, meter, on_bytes)
        finally:
            if meter is not None:
                meter.end()


class _Meter:
    """`Receiving packs:  42% (1.2 of 2.9 MB)`, on one line."""

    def __init__(self) -> None:
        self._written = False

    def __call__(self, progress: Progress) -> None:
        if progress.phase != "fetch" or not progress.total:
            return
        done, total = progress.done / 10**6, progress.total / 10**6
        share = 100 * progress.done // progress.total
        sys.stderr.write(f"\rReceiving packs: {share:3}% ({done:.1f} of {total:.1f} MB)")
        sys.stderr.flush()
        self._written = True

    def end(self) -> None:
        """Leaves the last state standing."""
        if self._written:
            sys.stderr.write(", done.\n")


if __name__ == "__main__":
    sys.exit(main())
