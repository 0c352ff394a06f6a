"""A run of `git-remote-forge`: the helper, the node that it asks, and what is done once git has its answer.

Standard output is git's protocol and nothing else; what is said to the person goes to standard error.
"""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from forge_p2p.cli.calling import call_or_run
from forge_p2p.cli.git_behind import git_above, leave_behind, wait_for
from forge_p2p.cli.home import Settings
from forge_p2p.cli.processes import has_terminal
from forge_p2p.cli.standby.asking import FAILED, INTERRUPTED
from forge_p2p.cli.standby.request import DECLINED, SWITCH
from forge_p2p.errors import ForgeError, UsageError
from forge_p2p.git.settings import SETTINGS
from forge_p2p.node.control import Begun, NoNode, begin
from forge_p2p.node.home import Home

if TYPE_CHECKING:
    from forge_p2p.git.calls import Node, Published
    from forge_p2p.git.remote.helper import Helper
    from forge_p2p.git.remote.upstream import Upstream
    from forge_p2p.git.running import Git
    from forge_p2p.node.results import Progress, Result

Release = Callable[[int], None]
"""Is told the exit code as soon as nothing is left to do that anybody waits for."""


Said = tuple[Sequence[bytes], bytes]


def run(words: list[str], client: int, release: Release | None = None, said: Said = ((), b"")) -> int:
    """Runs the helper to its end; returns its exit code. `client` is the process that git has started for it. `release`
    has whoever asked a standby for this run go on without it, which may be `DECLINED`; a run of its own has none, and
    leaves a standby for the next one. `said`: options, and what is to be answered first, from who has told git what
    the helper can do."""
    try:
        return _run(words, client, release, said)
    except (ForgeError, OSError, KeyboardInterrupt) as error:
        return code_of(error)


def code_of(error: ForgeError | OSError | KeyboardInterrupt) -> int:
    """The exit code for what has ended a run, which the person is told."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    if isinstance(error, OSError):
        from forge_p2p.cli.main import translated

        error = translated(error)
    from forge_p2p.git.remote.helper import failure

    sys.stderr.write(failure(error))
    return FAILED


def _run(words: list[str], client: int, release: Release | None, said: Said) -> int:
    from forge_p2p.git.urls import named

    name = named(words[1]) if len(words) > 1 else ""
    if not name:
        raise UsageError("git runs git-remote-forge, with a URL", hint="git clone forge://NAME")
    settings = Settings()
    caller = _Caller(settings)
    is_up = caller.begin("git_read", {"name": name, "in_network": ""})  # whatever git is going to ask for
    from forge_p2p.git.calls import Node
    from forge_p2p.git.remote.helper import Helper
    from forge_p2p.git.remote.options import BACKGROUND, NEVER, Options
    from forge_p2p.git.remote.upstream import Upstream
    from forge_p2p.git.running import Git

    git_dir = os.environb.get(b"GIT_DIR")
    git = Git(git_dir, dict(os.environ)) if git_dir else None
    if git is not None:
        git.begin(*SETTINGS)
    options = Options()
    caller.shows = lambda: options.progress
    node = Node(caller, name)
    upstream = Upstream(name, words[0], git, dict(os.environ))
    if release is not None and _may_ask(client, upstream):
        return DECLINED
    streams = (sys.stdin.buffer, sys.stdout.buffer)
    helper = Helper(node, git, streams, options, partial(_serve, settings), upstream, Home(settings.home).cache)
    helper.run(*said)
    when = _finish(settings, node, git, helper) if git is not None else NEVER
    checked = git if when == BACKGROUND else None
    standby = is_up and release is None and os.environ.get(SWITCH) != "0"
    hot = ("HEAD",) if checked is not None and options.cloning else ()
    _end(settings, client, partial(release, helper.exit_code) if release else None, checked, standby, hot)
    return helper.exit_code


def _end(
    settings: Settings,
    client: int,
    release: Callable[[], None] | None,
    checked: "Git | None",
    standby: bool,
    hot: Sequence[str],
) -> None:
    """Lets git go on where it need not wait, and has done once it has ended what is left: `checked`, a repository, is
    verified, and gets a hot pack of the revision `hot`; a `standby` started."""
    is_left = checked is not None or standby
    above = git_above(client) if is_left else None  # as long as git waits, and is there
    # A descriptor: once git is let go, what it cloned may be renamed.
    folder = os.open(checked.git_dir, os.O_PATH | os.O_DIRECTORY) if checked is not None else None
    if release is not None:
        release()
    if release is not None and above is not None:
        wait_for(above)  # here, where all is imported: Python's start would be in the way of git's end
        above = None
    if is_left:
        there = "/" if folder is None else f"/proc/self/fd/{folder}"
        leave_behind(str(settings.home), there, standby=standby, verify=checked is not None, above=above, hot=hot)


def _may_ask(client: int, upstream: "Upstream") -> bool:
    """Whether a git server may want a password, which only processes of that terminal can ask the person for."""
    with suppress(OSError, UsageError):
        return has_terminal(client) and bool(upstream.url)
    return False


def _finish(settings: Settings, node: "Node", git: "Git", helper: "Helper") -> str:
    """What git need not have an answer for, but whoever runs it. When what was taken as it came is to be checked."""
    from forge_p2p.git.leavings import clean_up
    from forge_p2p.git.remote.options import BACKGROUND, NEVER, NOW

    clean_up(git.git_dir)
    if helper.pushed_upon:
        from forge_p2p.git.upkeep import UNTENDED, tidy

        if helper.pushed_upon >= UNTENDED:
            with suppress(ForgeError):  # what was pushed is pushed
                tidy(node, git)
    if not helper.landed:
        return NEVER
    when = git.settings.get("forge.verify") or BACKGROUND
    if when not in (BACKGROUND, NOW, NEVER):
        raise UsageError(f"git config forge.verify is {when!r}", hint=f"one of {BACKGROUND}, {NOW}, {NEVER}")
    if when == NOW:
        _verify_now(settings, git)
    return when


def _serve(settings: Settings, node: "Node", published: "Published", service: str, ready: Callable[[], None]) -> int:
    from forge_p2p.git.mirror import serve

    code = serve(node, published, Home(settings.home).cache, dict(os.environ), service, ready)
    return code if 0 <= code < DECLINED else FAILED


def _verify_now(settings: Settings, git: "Git") -> None:
    """Without the repository's folder among those where Python looks for modules (-P), nor the work tree that git runs
    its helpers in."""
    import subprocess

    words = [sys.executable, "-P", "-m", "forge_p2p.cli.main", "--home", str(settings.home)]
    words += ["git", "verify", "--git-dir", "."]
    subprocess.run(words, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False, cwd=git.git_dir)


class _Caller:
    """Runs operations in the node that is up, or here. Progress goes to standard error as git's own does, if it `shows`
    any."""

    def __init__(self, settings: Settings) -> None:
        self.shows: Callable[[], bool] = lambda: False
        self._settings = settings
        self._begun: tuple[str, dict[str, Any], Begun] | None = None

    def begin(self, name: str, arguments: dict[str, Any]) -> bool:
        """Has the node that is up, if one is, begin with what is going to be called first. Whether one is."""
        with suppress(NoNode, ForgeError):  # which the call is told, too
            self._begun = name, arguments, begin(Home(self._settings.home), name, arguments)
        return self._begun is not None

    def __call__(
        self, name: str, arguments: dict[str, Any], on_bytes: Callable[[bytes], object] | None = None
    ) -> "Result":
        begun, self._begun = self._begun, None
        meter = _Meter() if self.shows() else None
        try:
            if begun is not None and begun[:2] == (name, arguments):
                return begun[2].result(meter, on_bytes)
            return call_or_run(self._settings, name, arguments, meter, on_bytes)
        finally:
            if meter is not None:
                meter.end()


class _Meter:
    """`Receiving packs:  42% (1.2 of 2.9 MB)`, on one line."""

    def __init__(self) -> None:
        self._written = False

    def __call__(self, progress: "Progress") -> None:
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
