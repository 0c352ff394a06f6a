"""Fetching: the packs of the manifest whose objects are not here, each as it is.

git trusts a helper with two things. A line `lock PATH.keep`, one only, and `connectivity-ok` let a clone do without the
walk over all objects, if the pack behind PATH holds every tip: answered where one pack does. And what the helper says
that it fetched has to be there: a pack is left out only if its objects were seen here, and then all that is wanted is
walked before it is believed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from forge_p2p.content.gitmanifest import GitManifest, GitPack, pack_name, pack_paths
from forge_p2p.errors import NotFound
from forge_p2p.git.calls import Node, Published
from forge_p2p.git.landing import Landing
from forge_p2p.git.lookup import IndexFile
from forge_p2p.git.running import Git
from forge_p2p.git.state import State


@dataclass(slots=True)
class Fetched:
    """What is to be told git: the `.keep` that holds the one new pack, and whether that pack has all tips."""

    lock: bytes = b""
    connected: bool = False
    packs: list[GitPack] = field(default_factory=list)


class Fetch:
    """One `fetch` batch. `landing` lives as long as git may need what has landed."""

    def __init__(self, node: Node, git: Git, landing: Landing, published: Published) -> None:
        assert published.manifest is not None
        self._node = node
        self._git = git
        self._landing = landing
        self._published = published
        self._manifest: GitManifest = published.manifest
        self._state = State(git.places)

    def run(self, wanted: Sequence[bytes], *, everything: bool) -> Fetched:
        """Brings what the objects `wanted` need. `everything`: nothing is here yet, or not to be believed. Raises
        `NotFound` for what no ref of the repository has."""
        advertised = {ref.oid for ref in self._manifest.refs} | {ref.peeled for ref in self._manifest.refs}
        for oid in wanted:
            if oid not in advertised:
                raise NotFound(
                    f"not our ref {oid.hex()}", hint="no ref of the repository is there any more: fetch again"
                )
        packs = self._manifest.packs if everything else self._missing()
        fetched = self._bring(packs)
        skipped = len(packs) < len(self._manifest.packs)
        if skipped and not everything and not self._git.is_connected(wanted):
            self._state.forget()
            fetched = self._bring(self._manifest.packs)
        if fetched.lock and len(fetched.packs) == 1 and self._holds(fetched.packs[0], wanted):
            fetched.connected = len(self._manifest.packs) == 1
        return fetched

    def _missing(self) -> list[GitPack]:
        """The packs whose objects are not known to be here."""
        known = self._state.known_packs()
        rest = [pack for pack in self._manifest.packs if pack.hash not in known and not self._landing.has(pack.hash)]
        present = self._git.present(tip for pack in rest for tip in pack.tips)
        return [pack for pack in rest if not pack.tips or not present.issuperset(pack.tips)]

    def _bring(self, packs: Sequence[GitPack]) -> Fetched:
        """Fetches packs and makes them the repository's."""
        absent = [pack for pack in packs if not self._landing.has(pack.hash)]
        if absent:
            self._node.place(self._published, self._landing.folder, self._names(absent))
        keep = len(absent) == 1
        locks = [self._landing.land(pack.hash, keep=keep) for pack in absent]
        self._state.remember({pack.hash for pack in self._manifest.packs} - self._state.known_packs())
        return Fetched(locks[0] if keep else b"", packs=absent)

    def _names(self, packs: Iterable[GitPack]) -> dict[bytes, bytes]:
        names: dict[bytes, bytes] = {}
        for pack in packs:
            for path in pack_paths(pack.hash):
                suffix = path.rpartition(b".")[2].decode()
                names[path] = self._landing.temporary(f"{pack_name(pack.hash)}.{suffix}")
        return names

    def _holds(self, pack: GitPack, oids: Iterable[bytes]) -> bool:
        path = self._landing.folder + b"/" + pack_name(pack.hash).encode() + b".idx"
        return IndexFile(path, self._git.places.oid_size).has_all(oids)
