"""A bare repository of the node's own, as its name says that it is now: what `git upload-pack` serves where whole packs
are not what is wanted: shallow and partial clones, `git archive`; and where upkeep is done by who has no repository.

Its packs are those of the manifest, linked from the store where they lie there; its refs are written as one file. It is
only ever changed under a lock, packs first, so that whoever reads it meanwhile finds all that its refs need. Many read
at once; who comes when it is as wanted already waits for nobody.
"""

import fcntl
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from forge_p2p.content.gitmanifest import GitManifest, pack_name
from forge_p2p.content.link import hash_bytes
from forge_p2p.errors import Malformed
from forge_p2p.git.calls import Node, Published
from forge_p2p.git.landing import Landing
from forge_p2p.git.remote.fetch import names_of
from forge_p2p.git.running import Git
from forge_p2p.git.trust import is_trusted, refused

KEPT: Final = 86400.0
"""Seconds that packs which no manifest names any more stay, for those who still read."""

_CONFIG: Final = """[core]
\trepositoryformatversion = {version}
\tbare = true
{extensions}[uploadpack]
\tallowFilter = true
\tallowAnySHA1InWant = true
[gc]
\tauto = 0
"""


_PASSED: Final = frozenset({"GIT_PROTOCOL", "GIT_EXEC_PATH", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_GLOBAL", "GIT_TRACE"})
"""Variables that are about git as such; the others are about the repository that git runs its helper for."""


def serve(
    node: Node,
    published: Published,
    cache: Path,
    environment: Mapping[str, str],
    service: str,
    ready: Callable[[], None],
) -> int:
    """Runs a service of git's, `git-upload-pack`, on the repository as it was published; standard input and output are
    its, from when `ready` was called. Returns its exit code."""
    with up_to_date(node, published, cache, environment) as git:
        ready()
        words = [b"git", service.removeprefix("git-").encode(), git.git_dir]
        kept = {name: value for name, value in environment.items() if not name.startswith("GIT_") or name in _PASSED}
        return subprocess.run(words, env=kept, check=False).returncode


@contextmanager
def up_to_date(node: Node, published: Published, cache: Path, environment: Mapping[str, str]) -> Iterator[Git]:
    """The repository, locked against being changed while it is read. `current`: what it was made to be at last."""
    about, manifest = published.about, published.manifest
    assert manifest is not None
    identity = about.name if about.member else about.link
    path = cache / "git" / f"{hash_bytes(f'{about.network}/{identity}'.encode()).hex()[:32]}.git"
    (path / "objects" / "pack").mkdir(parents=True, exist_ok=True)
    git = Git(os.fsencode(path), {name: value for name, value in environment.items() if not name.startswith("GIT_")})
    current = path / "forge.current"
    with open(path / "forge.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        if not current.exists() or current.read_text() != about.link:
            fcntl.flock(lock, fcntl.LOCK_EX)
            current.unlink(missing_ok=True)
            _configure(path, manifest)
            _bring(node, published, git)
            _set_refs(path, manifest)
            _write(current, about.link.encode())
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield git


def _configure(path: Path, manifest: GitManifest) -> None:
    sha256 = manifest.object_format == "sha256"
    extensions = "[extensions]\n\tobjectFormat = sha256\n" if sha256 else ""
    _write(path / "config", _CONFIG.format(version=int(sha256), extensions=extensions).encode())
    (path / "refs").mkdir(exist_ok=True)
    if not (path / "HEAD").exists():
        _write(path / "HEAD", b"ref: refs/heads/main\n")


def _bring(node: Node, published: Published, git: Git) -> None:
    manifest = published.manifest
    assert manifest is not None
    packs = os.path.join(git.git_dir, b"objects", b"pack")
    with Landing(packs) as landing:
        absent = [pack for pack in manifest.packs if not landing.has(pack.hash)]
        if absent:
            node.place(published, landing.folder, names_of(absent))
        trusted = not absent or is_trusted(git, published.about)
        for pack in absent:
            if not trusted:  # what a pack builds on has landed before
                path = landing.path_of(pack.hash, b".pack")
                if fault := git.complaint("index-pack", "--verify", "--strict", path):
                    raise refused(pack.hash, published.about, fault)
            _land(git, landing, pack.hash)
    wanted = {pack_name(pack.hash).encode() for pack in manifest.packs}
    for name in os.listdir(packs):
        path = os.path.join(packs, name)
        if os.path.splitext(name)[0] not in wanted:
            with suppress(FileNotFoundError):
                if os.stat(path).st_ctime < time.time() - KEPT:
                    os.unlink(path)


def _land(git: Git, landing: Landing, pack: bytes) -> None:
    """Makes a pack that has arrived the repository's, with an index made anew where the one that came is not its."""
    try:
        landing.land(pack, keep=False)
    except Malformed:
        alone = git.without_objects(landing.folder)
        if alone.attempt("index-pack", "--rev-index", landing.path_of(pack, b".pack")).returncode:
            raise
        landing.land(pack, keep=False)


def _set_refs(path: Path, manifest: GitManifest) -> None:
    """All refs at once: the file is replaced as a whole, and there are no others."""
    lines = [b"# pack-refs with: peeled fully-peeled sorted \n"]
    for ref in manifest.refs:
        lines.append(ref.oid.hex().encode() + b" " + ref.name + b"\n")
        if ref.peeled:
            lines.append(b"^" + ref.peeled.hex().encode() + b"\n")
    _write(path / "packed-refs", b"".join(lines))
    if manifest.head:
        _write(path / "HEAD", b"ref: " + manifest.head + b"\n")


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_bytes(content)
    temporary.replace(path)
