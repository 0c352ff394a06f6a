"""A commit of a bare repository in a directory: written, and brought from one commit to the next, by git.

`git read-tree -u` has been taught every trick of hostile trees. The first time everything has to be written: by several
processes, which find what they write in the hot pack (`hot.keeping`). From then on git's own index says what is there,
and `read-tree -m` writes what differs: it compares trees, not files, and refuses to lose somebody's edits.
"""

import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from forge_p2p.content.gitmanifest import COMMIT_GRAPH
from forge_p2p.errors import Malformed, UsageError
from forge_p2p.git.checkout.keeping import SETTING, Tree, locked, own_git_dir, replace_file, work_tree
from forge_p2p.git.hot.keeping import find, use
from forge_p2p.git.running import Git, GitFailed
from forge_p2p.git.state import State
from forge_p2p.workspace.faults import disk_error

_WORKERS: Final = 8
_ARRIVING: Final = ".forge-checkout"
"""Where a `.git` is until it is whole."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted: the `commit` (hexadecimal) of the bare repository `cache`, in `destination`.

    `hot`: where the repository's hot pack is, if there is one; `state`: folder for what is remembered of directories
    without a `.git`; `own`: with a `.git`, whose `origin` is a URL; `force`: local changes of tracked files are thrown
    away.
    """

    cache: bytes
    name: str
    commit: str
    destination: bytes
    hot: bytes
    state: bytes
    origin: str
    own: bool = True
    force: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """`how`: "written", "updated" or "unchanged". `restored`: tracked files that were gone; `kept`: those with changes
    of somebody's, which stay. `left`: the commit that was there before, if it is somebody's own and on no branch."""

    commit: str
    how: str
    restored: int = 0
    kept: int = 0
    left: str = ""


def check_out(request: Request, environment: Mapping[str, str]) -> Done:
    """Makes the directory that commit. Raises `UsageError`, `GitFailed`, `DiskError`, `Malformed`."""
    path = os.path.realpath(request.destination)
    try:
        os.makedirs(path, exist_ok=True)
        with locked(path) as root:
            tree = work_tree(path, request.name, request.cache, request.state, own=request.own)
            return _check_out(request, tree, os.listdir(root), environment)
    except OSError as error:
        raise disk_error("written", path, error) from error


def _check_out(request: Request, tree: Tree, names: Sequence[str], environment: Mapping[str, str]) -> Done:
    inside = [name for name in names if name != _ARRIVING]
    old = tree.commit(environment) if inside else ""  # a directory made anew may have the number of the one before
    if old:
        if old == request.commit and not request.force and not tree.unfinished:
            return _settled(tree, environment, Done(request.commit, "unchanged"))
        left = _left(request, tree, old, environment)
        _update(request, tree, old, environment)
        return _settled(tree, environment, Done(request.commit, "updated", left=left))
    if inside and not tree.unfinished:
        raise UsageError(
            f"{os.fsdecode(tree.path)} is not empty, and no checkout of {request.name}",
            hint="choose a directory that is empty or not there yet",
        )
    return _begin(request, tree, environment)


def _begin(request: Request, tree: Tree, environment: Mapping[str, str]) -> Done:
    """The first checkout, or the rest of one that was killed, whose files are nobody's edits."""
    again = tree.unfinished
    tree.forget()
    if tree.own and not again:
        _clone(request, tree, environment)
    tree.begin()
    git = tree.git(environment)
    # Not by the commit, which the hot pack has not: git looks first where it has found something at last.
    wanted = git.run("rev-parse", "--verify", f"{request.commit}^{{tree}}").decode().strip()
    path = find(request.hot)
    if path:
        git = git.beside(request.hot)
        use(path)
    # At least two: where the hot pack lacks something, only those that the work is handed to look into it first again.
    git.run(*_parallel(at_least=2 if path else 1), "read-tree", "--reset", "-u", wanted)
    if git.attempt("diff-index", "--cached", "--quiet", wanted, "--").returncode:
        raise Malformed("the tree has two entries of one name, or one inside another", hint="git fsck says more")
    tree.remember(request.commit, environment)
    return Done(request.commit, "written")


def _clone(request: Request, tree: Tree, environment: Mapping[str, str]) -> None:
    """A `.git` whose packs are those of the cache, by hard links where the file system allows. It comes into its place
    as a whole, with the marker of what is not finished in it."""
    arriving = os.path.join(tree.path, os.fsencode(_ARRIVING))
    shutil.rmtree(arriving, ignore_errors=True)
    known = ("--origin", "origin", "--config", f"{SETTING}={request.name}")
    words = ("clone", "--quiet", "--local", "--no-checkout", *known, "--")
    cache = Git(request.cache, environment)
    unchecked = State(cache.places).has_marked_graph()
    cache.run(*words, request.cache, arriving)
    if unchecked:  # nobody would do that here
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(own_git_dir(arriving), b"objects", b"info", COMMIT_GRAPH))
    own = Git(own_git_dir(arriving), environment)
    own.run("config", "remote.origin.url", request.origin)
    replace_file(os.path.join(own_git_dir(arriving), os.path.basename(tree.marker)), b"")
    os.rename(own_git_dir(arriving), tree.git_dir)
    os.rmdir(arriving)


def _update(request: Request, tree: Tree, old: str, environment: Mapping[str, str]) -> None:
    git = tree.git(environment)
    if tree.own:
        _bring(request, git)
    tree.begin()
    if request.force:
        git.run(*_parallel(), "read-tree", "--reset", "-u", request.commit)
    else:
        _merge(request, git, old, tree)
    tree.remember(request.commit, environment)


def _left(request: Request, tree: Tree, old: str, environment: Mapping[str, str]) -> str:
    """The commit that HEAD is about to leave, if only the reflog has it then: of `git commit` on a detached HEAD."""
    if not tree.own or Git(request.cache, environment).present([bytes.fromhex(old)]):
        return ""
    return "" if tree.git(environment).run("for-each-ref", "--count=1", f"--contains={old}") else old


def _settled(tree: Tree, environment: Mapping[str, str], done: Done) -> Done:
    """Puts back what is gone, and counts what somebody has changed: a look at every file, and into none that is as git
    remembers it."""
    git = tree.git(environment)
    words = git.run("diff-files", "--name-status", "--ignore-submodules", "-z").split(b"\0")
    found = list(zip(words[0::2], words[1::2], strict=False))
    gone = [path for state, path in found if state == b"D" and _is_free(tree.path, path)]
    if gone:
        git.run("checkout-index", "--stdin", "-z", feed=[path + b"\0" for path in gone])
        git.attempt("update-index", "-q", "--refresh")
    return replace(done, restored=len(gone), kept=len(found) - len(gone))


def _is_free(top: bytes, path: bytes) -> bool:
    """Whether nothing is where a file was. For git a file is gone, too, when there is a directory in its place, or
    something else in the place of a directory above it; that is somebody's, and `--force` would do away with it."""
    for name in path.split(b"/"):
        top = os.path.join(top, name)
        try:
            mode = os.lstat(top).st_mode
        except FileNotFoundError:
            return True
        if not stat.S_ISDIR(mode):
            return False
    return False


def _merge(request: Request, git: Git, old: str, tree: Tree) -> None:
    words = (*_parallel(), "read-tree", "-m", "-u", old, request.commit)
    if git.attempt(*words).returncode == 0:
        return
    git.attempt("update-index", "-q", "--refresh")  # what was touched and not changed is no reason to refuse
    try:
        git.run(*words)
    except GitFailed as error:
        raise UsageError(
            f"{os.fsdecode(tree.path)} has changes that would be lost: {error.message.partition(': ')[2]}",
            hint="keep them elsewhere, or throw them away with --force",
        ) from error


def _bring(request: Request, git: Git) -> None:
    """The objects of the commit into a `.git` of its own."""
    if git.attempt("rev-parse", "--verify", "--quiet", f"{request.commit}^{{commit}}").returncode:
        refs = ("+refs/heads/*:refs/remotes/origin/*", request.commit)
        git.run("fetch", "--quiet", "--no-write-fetch-head", request.cache, *refs)


def _parallel(at_least: int = 1) -> tuple[str, ...]:
    settings = (
        f"checkout.workers={max(at_least, _workers())}",
        "core.preloadIndex=true",
        "core.protectHFS=true",
        "core.protectNTFS=true",
    )
    return tuple(word for setting in settings for word in ("-c", setting))


def _workers() -> int:
    """How many files are written at once: as many as there are processors, within reason."""
    with suppress(AttributeError):
        return min(len(os.sched_getaffinity(0)), _WORKERS)
    return min(os.cpu_count() or 1, _WORKERS)
