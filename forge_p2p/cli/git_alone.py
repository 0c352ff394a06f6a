"""A run of `git-remote-forge` where Forge has nobody to ask, and git an upstream that can stand in for it.

That is known by a look at the node's folder and one at git's configuration, and git needs nothing else of Forge then.
So next to nothing is imported for it: what the other runs need takes as long as plain git does for a small clone.
"""

import os
import sys
from collections.abc import Mapping

from forge_p2p.cli.folder import default_folder
from forge_p2p.cli.standby.asking import INTERRUPTED
from forge_p2p.content.ticketname import is_ticket
from forge_p2p.git.layout import is_being_cloned
from forge_p2p.git.leavings import clean_up
from forge_p2p.git.remote.standing import StandIn, nothing_either, stand_in, turning
from forge_p2p.git.settings import SETTINGS, TELL_WORKERS, may_tell_workers, settings_in, upstream_in
from forge_p2p.git.spawning import output_of
from forge_p2p.git.urls import named
from forge_p2p.node.nobody import IN_NONE, is_nobody_there

_SOURCE, _SINK = 0, 1
_LINE = 256
"""Bytes that are more than git's first line."""


def run_alone(words: list[str]) -> int | None:
    """The exit code of the run; `None` if it is not such a one, or cannot be seen to be, and git was told nothing."""
    try:
        name = named(words[1]) if len(words) > 1 else ""
        folder = default_folder()
        if not name or is_ticket(name) or not folder or not is_nobody_there(folder, os.environ.get("FORGE_TOKEN", "")):
            return None
        settings = settings_in(output_of(SETTINGS, os.environ))
        _, url = upstream_in(settings, name)
        found = stand_in(url, settings, os.environ)
        return _Alone(words, url, settings).run(found) if found else None
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        from forge_p2p.cli.git_helper import code_of

        return code_of(error)


class _Alone:
    """One of them."""

    def __init__(self, words: list[str], url: str, settings: Mapping[str, str]) -> None:
        self._words = words
        self._url = url
        self._settings = settings
        self._options: list[bytes] = []
        """As git has said them."""

    def run(self, found: type[StandIn]) -> int:
        """Until git has what it wants, or wants to push, which Forge has to be asked for after all."""
        if os.read(_SOURCE, _LINE) != b"capabilities\n":
            return 0
        callbacks = (self._options.append, self._say_turning, self._before_fetch)
        ended = found(self._words[0], self._url, os.environ, *callbacks).run(_SOURCE, _SINK)
        if isinstance(ended, bytes):
            from forge_p2p.cli.git_helper import run

            return run(self._words, os.getpid(), said=(self._options, ended))
        if git_dir := os.environb.get(b"GIT_DIR"):
            clean_up(git_dir)
        return self._failed(ended) if ended else 0

    def _failed(self, why: str) -> int:
        from forge_p2p.cli.git_helper import code_of
        from forge_p2p.git.running import GitFailed

        return code_of(GitFailed(nothing_either(self._url, why)))

    def _say_turning(self) -> None:
        if b"verbosity 0" not in self._options:
            sys.stderr.write(f"forge: {turning(IN_NONE, self._url)}\n")

    def _before_fetch(self) -> None:
        """Has a clone check out by all processors. It is told by the end of this: git writes to the same file later."""
        git_dir = os.environb.get(b"GIT_DIR")
        if git_dir and may_tell_workers(self._settings) and self._clones(git_dir):
            output_of(TELL_WORKERS, os.environ)

    def _clones(self, git_dir: bytes) -> bool:
        return b"cloning true" in self._options or is_being_cloned(git_dir)
