"""The indexes of all packs that are published: the repository's own where it has them, else fetched and kept beside."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

from forge_p2p.content.gitmanifest import pack_name, pack_paths
from forge_p2p.git.calls import Node, Published
from forge_p2p.git.claims import claim, is_dead
from forge_p2p.git.lookup import IndexFile
from forge_p2p.git.running import Git

_FOLDER = b"idx"
_PREFIX = b"tmp_"


def published_indexes(node: Node, git: Git, published: Published) -> list[IndexFile]:
    """One for each pack of the manifest. Those fetched are kept in `.git/forge/idx` while the manifest names them."""
    if published.manifest is None:
        return []
    places = git.places
    folder = os.path.join(places.state, _FOLDER)
    names = {pack.hash: pack_name(pack.hash).encode() + b".idx" for pack in published.manifest.packs}
    places_of = {pack: _find(name, places.packs, folder) for pack, name in names.items()}
    absent = [pack for pack, path in places_of.items() if not path]
    if absent:
        os.makedirs(folder, exist_ok=True)
        claimed = claim(folder, _PREFIX)
        try:
            temporary = {pack: _PREFIX + claimed.word + b"_" + names[pack] for pack in absent}
            node.place(published, folder, {pack_paths(pack)[-1]: temporary[pack] for pack in absent})
            for pack in absent:
                places_of[pack] = os.path.join(folder, names[pack])
                os.rename(os.path.join(folder, temporary[pack]), places_of[pack])
        finally:
            os.unlink(os.path.join(folder, _PREFIX + claimed.word))
            claimed.release()
    _clean(folder, set(names.values()))
    return [IndexFile(path, places.oid_size) for path in places_of.values()]


@contextmanager
def index_kept(git: Git, pack: bytes, made: bytes) -> Iterator[None]:
    """Keeps the index of a pack that was made here, at `made`, once what is done meanwhile has published it: the next
    push asks for it. Synced, for half an index would hide what is published."""
    folder = os.path.join(git.places.state, _FOLDER)
    os.makedirs(folder, exist_ok=True)
    synced: list[bool] = []
    syncing = Thread(target=_sync, args=(made, synced))
    syncing.start()
    try:
        yield
    finally:
        syncing.join()
    if synced:
        os.rename(made, os.path.join(folder, pack_name(pack).encode() + b".idx"))


def _sync(path: bytes, synced: list[bool]) -> None:
    with suppress(OSError), open(path, "rb") as file:
        os.fdatasync(file.fileno())
        synced.append(True)


def _find(name: bytes, *folders: bytes) -> bytes:
    for folder in folders:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            return path
    return b""


def _clean(folder: bytes, wanted: set[bytes]) -> None:
    """Removes what no manifest names any more, and what was left half fetched."""
    with suppress(FileNotFoundError):
        for name in os.listdir(folder):
            word = name.removeprefix(_PREFIX)[:16]
            dead = name.startswith(_PREFIX) and is_dead(folder, _PREFIX, word)
            if dead or (not name.startswith(_PREFIX) and name not in wanted):
                with suppress(FileNotFoundError):
                    os.unlink(os.path.join(folder, name))
