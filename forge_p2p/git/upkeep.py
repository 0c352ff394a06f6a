"""Upkeep of what is published: many small packs of a name made one, so that a clone has few to join.

Every push adds a pack. When there are more than a few, the newest are made one, as many as keep the sizes in a
geometric row: each pack then has at least twice the objects of all that are newer, an object is moved a logarithmic
number of times in its life, and the large pack at the beginning is not touched.

Few objects are joined: entries are copied as they are, so the new pack is made of chunks that everybody who had the old
ones has. From some thousands on they are packed anew (`repacking`), which finds deltas from one push to another. What
is at least as large as all the others together stays byte for byte even then.

What is put is as git would have it: an index that lies, somebody else's, is not passed on.

Whoever is fetching the old packs meanwhile goes on: the record that names them stays in the name's log, and what it
needs stays as long as the log's retention keeps it (docs/sync.md).
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from forge_p2p.content.gitmanifest import SUFFIXES, TIPS_MAX, GitGraph, GitManifest, GitPack, pack_name
from forge_p2p.errors import Conflict, DiskError, Malformed, NotFound, PeerError, Untrusted
from forge_p2p.git.calls import Node, Published
from forge_p2p.git.graphs import keeping as graphs
from forge_p2p.git.joining import join_arrived
from forge_p2p.git.manifests import write_manifest
from forge_p2p.git.mirror import up_to_date
from forge_p2p.git.putting import outgoing_folder
from forge_p2p.git.remote.fetch import names_of
from forge_p2p.git.remote.push import TRIES, require_pusher
from forge_p2p.git.repacking import repack_arrived
from forge_p2p.git.running import Git, GitFailed
from forge_p2p.node.repositories.results import RepositoryPutResult
from forge_p2p.workspace.faults import disk_error

MANY: Final = 8
"""Packs that a repository may have before any are joined."""

UNTENDED: Final = 32
"""Packs after which a push joins some, too: a manifest names a bounded number, and nobody else may ever publish."""

FACTOR: Final = 2

REPACKED_FROM: Final = 4096
"""Objects that are worth packing anew: a second's work, for packs a fifth of the size (docs/git.md)."""


@dataclass(frozen=True, slots=True)
class Tended:
    """What upkeep has made of `published`. `put`: the record that says so, `None` where nothing was to do, or somebody
    else did it meanwhile. `packs`: how many there are; `joined`: how many became one, 0 for none; `graph`: whether the
    commit-graph is new. `left`: packs that stay as they are since git cannot read them, and what it says."""

    published: Published
    put: RepositoryPutResult | None
    packs: int
    joined: int = 0
    graph: bool = False
    left: Sequence[str] = ()


def tidy(node: Node, git: Git) -> None:
    """As `tend`, for who has come to do something else: what cannot be done is left. `git`: any repository that has
    what the node's name stands for."""
    published = node.read()
    if published.manifest is not None and is_due(published.manifest):
        with suppress(Conflict, PeerError, NotFound, Malformed, Untrusted, GitFailed, DiskError):
            tend(node, git, published, published.manifest)


def keep_up(node: Node, cache: Path, environment: Mapping[str, str]) -> Tended:
    """As `tend`, for who has no repository at hand: in the one that the node keeps in `cache`, which is brought up to
    date if something is to do. Raises as `tend`, and `Refused` for who may not write."""
    published = node.read()
    require_pusher(published)
    manifest = published.manifest
    if manifest is None:
        raise NotFound(
            f"{published.about.name!r} stands for nothing yet", hint="forge git publish gives it a repository"
        )
    if not is_due(manifest):
        return Tended(published, None, len(manifest.packs))
    with up_to_date(node, published, cache, environment) as git:
        pass
    # Not locked any more, so that shallow clones of what is pushed meanwhile need not wait. What goes from there, since
    # the name has moved past it, is what no commit-graph is made without; packs are made of what arrives beside.
    return tend(node, git, published, manifest)


def is_due(manifest: GitManifest) -> bool:
    """Whether there is anything to do, as far as the manifest tells."""
    return len(manifest.packs) > MANY or graphs.is_due(manifest)


def tend(node: Node, git: Git, published: Published, manifest: GitManifest) -> Tended:
    """Makes the newest packs of what the node's name stands for one, and its commit-graph anew when it is time, by one
    more record. `git`: any repository, in whose `.git/forge` the work is done; it has what its commit-graph is to be
    of. Records that others put meanwhile are built upon. Raises `Conflict`, `PeerError`, `NotFound`, `Malformed`,
    `Untrusted`, `GitFailed`, `DiskError`."""
    try:
        with outgoing_folder(git.places.state) as folder:
            return _put(node, published, _change(node, git, published, manifest, folder), folder)
    except OSError as error:
        raise disk_error("written", git.places.state, error) from error


@dataclass(frozen=True, slots=True)
class _Change:
    """What is to be different from the manifest `of`: `made` is there for `chosen`, and a commit-graph; either may be
    none. `left`: as in `Tended`."""

    of: GitManifest
    chosen: Sequence[GitPack]
    made: GitPack | None
    graph: GitGraph | None
    left: Sequence[str]

    def on(self, manifest: GitManifest) -> GitManifest | None:
        """The same on `manifest`, which may be newer; `None` if nothing is left to do, as somebody else has done it."""
        hashes = {pack.hash for pack in manifest.packs}
        if manifest.graph != self.of.graph or not hashes.issuperset(pack.hash for pack in self.chosen):
            return None
        changed = with_joined(manifest, self.chosen, self.made) if self.made else manifest
        changed = changed.with_graph(self.graph) if self.graph else changed
        return changed if changed is not manifest else None


def _change(node: Node, git: Git, published: Published, manifest: GitManifest, folder: bytes) -> _Change:
    """What is to do; the files for it are in `folder`."""
    chosen = manifest.packs[-newest_to_join(manifest.packs) :] if len(manifest.packs) > MANY else []
    made: GitPack | None = None
    left: list[str] = []
    if len(chosen) > 1:
        packs = os.path.join(folder, b"packs")
        _arrive(node, published, packs, chosen)
        try:
            made = one_of(git, packs, chosen, manifest.object_format)
        except GitFailed:
            shutil.rmtree(packs)
            _arrive(node, published, packs, chosen)
            chosen, left = _readable(git, packs, chosen)
            made = one_of(git, packs, chosen, manifest.object_format) if len(chosen) > 1 else None
    with_graph = graphs.made(git, manifest, folder)
    return _Change(manifest, chosen, made, with_graph.graph if with_graph is not manifest else None, left)


def _arrive(node: Node, published: Published, packs: bytes, chosen: Sequence[GitPack]) -> None:
    os.mkdir(packs)
    node.place(published, packs, names_of(chosen))


def _readable(git: Git, packs: bytes, chosen: Sequence[GitPack]) -> tuple[list[GitPack], list[str]]:
    """Those packs that git can read, with indexes made anew; what it says of the others, whose files are removed.
    Raises `GitFailed` if it can read none: it need not be their fault."""
    alone = git.without_objects(packs)
    good, left = [], []
    for pack in chosen:
        name = pack_name(pack.hash).encode()
        if fault := alone.complaint("index-pack", os.path.join(packs, name + b".pack")):
            left.append(f"{name.decode()} stays as it is: {fault}")
            for suffix in SUFFIXES:
                with suppress(FileNotFoundError):
                    os.unlink(os.path.join(packs, name + suffix))
        else:
            good.append(pack)
    if not good:
        raise GitFailed(f"git can read none of {len(chosen)} packs: {left[-1]}")
    return good, left


def _put(node: Node, published: Published, change: _Change, folder: bytes) -> Tended:
    """Puts it after the newest record, whoever's that is by then."""
    for _ in range(TRIES):
        before = published.manifest
        assert before is not None
        wanted = change.on(before)
        if wanted is None:
            return Tended(published, None, len(before.packs), left=change.left)
        write_manifest(wanted, folder)
        try:
            put = node.put(published, folder)
        except Conflict:
            published = node.read()
        else:
            joined = len(change.chosen) if change.made else 0
            return Tended(published, put, len(wanted.packs), joined, change.graph is not None, change.left)
    raise Conflict(f"{TRIES} records by others came first, one after the other", hint="try again later")


def one_of(git: Git, packs: bytes, chosen: Sequence[GitPack], object_format: str) -> GitPack:
    """One pack, in the folder `packs`, of those that have arrived there. Raises `GitFailed`, `Malformed`."""
    largest = max(chosen, key=lambda pack: pack.objects)
    total = sum(pack.objects for pack in chosen)
    rest = [pack for pack in chosen if pack is not largest or largest.objects * FACTOR < total]
    if len(rest) > 1 and sum(pack.objects for pack in rest) >= REPACKED_FROM:
        again = repack_arrived(git, packs, rest)
        if len(rest) == len(chosen):
            return again
        chosen = [largest, again]
    try:
        joined = join_arrived(packs, chosen, object_format)
    except Malformed:  # somebody's index lies, and it shows
        joined = None
    if joined is None:
        return repack_arrived(git, packs, chosen)
    made = GitPack(joined, sum(pack.objects for pack in chosen), [], [])
    alone = git.without_objects(packs)
    if alone.complaint("index-pack", "--verify", os.path.join(packs, pack_name(joined).encode() + b".pack")):
        return repack_arrived(git, packs, [made])
    return made


def newest_to_join(packs: Sequence[GitPack]) -> int:
    """How many packs at the end have to be one, that each before has `FACTOR` times the objects of all after it."""
    total, count = packs[-1].objects, 1
    for pack in reversed(packs[:-1]):
        if pack.objects >= FACTOR * total:
            break
        total, count = total + pack.objects, count + 1
    return count


def with_joined(manifest: GitManifest, chosen: Sequence[GitPack], made: GitPack) -> GitManifest:
    """The manifest with one pack for those chosen, where the last of them was. Its tips are those of all: who has them
    needs nothing of it."""
    tips = list(dict.fromkeys(tip for pack in chosen for tip in pack.tips))
    behind = list(dict.fromkeys(oid for pack in chosen for oid in pack.prerequisites if oid not in set(tips)))
    known = all(pack.tips for pack in chosen) and max(len(tips), len(behind)) <= TIPS_MAX
    pack = GitPack(made.hash, made.objects, tips, behind) if known else made
    hashes = {each.hash for each in chosen}
    after = next(number for number, each in enumerate(reversed(manifest.packs)) if each.hash in hashes)
    packs = [each for each in manifest.packs if each.hash not in hashes]
    packs.insert(len(packs) - after, pack)
    return replace(manifest, packs=packs)
