"""A repository's name moved: a pack of what is new, a manifest with it, both put after what was read."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Final

from forge_p2p.content.gitmanifest import GitManifest, pack_name
from forge_p2p.git.calls import Node, Published
from forge_p2p.git.claims import claim, is_dead
from forge_p2p.git.indexes import index_kept, published_indexes
from forge_p2p.git.manifests import Update, updated, write_manifest
from forge_p2p.git.packing import Tips, pack_new
from forge_p2p.git.running import Git
from forge_p2p.git.state import State
from forge_p2p.node.repositories.results import RepositoryPutResult

_PREFIX: Final = b"push_"


def put_updates(
    node: Node, git: Git, published: Published, before: GitManifest, updates: Sequence[Update]
) -> RepositoryPutResult:
    """Moves refs of a repository from `before`, its manifest as read, by a record right after that. Raises `Conflict`
    when another record came first, `GitFailed`, and as the operation `git_put`."""
    state = State(git.places)
    indexes = cache(lambda: published_indexes(node, git, published))  # fetched for what may be new, or not at all
    new = list(dict.fromkeys(update.oid for update in updates if update.oid))
    with outgoing_folder(state.folder) as folder:
        old = sorted(git.present({ref.oid for ref in before.refs}))
        tips, packs = Tips(new, old), os.path.join(folder, b"packs")
        pack = pack_new(git, tips, lambda oid: any(oid in index for index in indexes()), packs)
        write_manifest(updated(git, before, updates, pack), folder)
        if pack is None:
            return node.put(published, folder)
        with index_kept(git, pack.hash, os.path.join(packs, pack_name(pack.hash).encode() + b".idx")):
            put = node.put(published, folder)
    state.remember({pack.hash: pack.hash})
    return put


@contextmanager
def outgoing_folder(state: bytes) -> Iterator[bytes]:
    """A folder for what is put."""
    os.makedirs(state, exist_ok=True)
    clean_outgoing(state)
    claimed = claim(state, _PREFIX)
    folder = os.path.join(state, b"files_" + claimed.word)
    try:
        os.mkdir(folder)
        yield folder
    finally:
        _remove(state, claimed.word)
        claimed.release()


def clean_outgoing(state: bytes) -> None:
    """Removes what killed pushes have left."""
    for name in os.listdir(state):
        word = name.removeprefix(_PREFIX)
        if name.startswith(_PREFIX) and is_dead(state, _PREFIX, word):
            _remove(state, word)


def _remove(state: bytes, word: bytes) -> None:
    shutil.rmtree(os.path.join(state, b"files_" + word), ignore_errors=True)
    with suppress(FileNotFoundError):  # two may clean up at once
        os.unlink(os.path.join(state, _PREFIX + word))
