"""Fetching: the packs of the manifest whose objects are not here.

git trusts a helper with two things. A line `lock PATH.keep`, one only, and `connectivity-ok` let a clone do without the
walk over all objects, if the pack behind PATH holds every tip: answered where one pack does. And what the helper says
that it fetched has to be there: a pack is left out only if its objects were seen here, and then all that is wanted is
walked before it is believed, unless the packs are there still in which those objects came.
"""

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from forge_p2p.content.gitmanifest import (
    COMMIT_GRAPH,
    SUFFIXES,
    GitGraph,
    GitManifest,
    GitPack,
    pack_name,
    pack_paths,
)
from forge_p2p.errors import Malformed, NotFound
from forge_p2p.git.calls import Node, Published
from forge_p2p.git.joining import JOINED_FROM, join_arrived
from forge_p2p.git.landing import Landing
from forge_p2p.git.lookup import IndexFile
from forge_p2p.git.running import Git, said
from forge_p2p.git.state import State
from forge_p2p.git.trust import is_trusted, refused


@dataclass(slots=True)
class Fetched:
    """What is to be told git: the `.keep` that holds the one new pack, and whether that pack is all that is needed."""

    lock: bytes = b""
    connected: bool = False


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
        self._known = self._state.known_packs()
        self._joined: dict[bytes, bytes] = {}
        """What packs of this fetch were made part of."""
        self._graph: GitGraph | None = None

    def run(self, wanted: Sequence[bytes], *, everything: bool) -> Fetched:
        """Brings what the objects `wanted` need. `everything`: nothing is here yet, or not to be believed. Raises
        `NotFound` for what no ref of the repository has."""
        advertised = {ref.oid for ref in self._manifest.refs} | {ref.peeled for ref in self._manifest.refs}
        for oid in wanted:
            if oid not in advertised:
                raise NotFound(f"not our ref {oid.hex()}", hint="no ref is there any more: fetch again")
        packs = self._manifest.packs if everything else self._missing(wanted)
        self._graph = self._manifest.graph if everything else None
        fetched = self._bring(packs, wanted, joined_from=2 if everything else JOINED_FROM)
        if not everything and not self._has_all_packs() and not self._git.is_connected(wanted):
            self._state.forget()
            self._known = {}
            fetched = self._bring(self._manifest.packs, wanted, joined_from=JOINED_FROM)
        return fetched

    def _missing(self, wanted: Sequence[bytes]) -> list[GitPack]:
        """The packs whose objects are not known to be here. What git wants alone, it has looked for in vain: most
        fetches bring the one pack that has it, and need not ask."""
        rest = [
            pack for pack in self._manifest.packs if pack.hash not in self._known and not self._landing.has(pack.hash)
        ]
        lacking = frozenset(wanted if len(wanted) == 1 else ())
        present = self._git.present(tip for pack in rest for tip in pack.tips if tip not in lacking)
        return [pack for pack in rest if not pack.tips or not present.issuperset(pack.tips)]

    def _has_all_packs(self) -> bool:
        """Whether every pack that is published is here as a whole, itself or as part of another: who has them all has
        all that the refs need."""
        return all(self._landing.has(self._known.get(pack.hash, pack.hash)) for pack in self._manifest.packs)

    def _bring(self, packs: Sequence[GitPack], wanted: Sequence[bytes], *, joined_from: int) -> Fetched:
        """Fetches packs and makes them the repository's."""
        absent = [pack for pack in packs if not self._landing.has(pack.hash)]
        trusted = is_trusted(self._git, self._published.about)
        if absent:
            names = names_of(absent, SUFFIXES if trusted else SUFFIXES[:1])
            if trusted and self._graph is not None:
                names[COMMIT_GRAPH] = COMMIT_GRAPH
            self._node.place(self._published, self._landing.folder, names)
        try:
            fetched = self._land(absent, wanted, joined_from) if trusted else self._index(absent)
        except Malformed:  # the packs may still be sound, and then git makes the indexes that they should have had
            fetched = self._index([pack for pack in absent if not self._landing.has(pack.hash)])
        hashes = (pack.hash for pack in self._manifest.packs)
        new = {pack: self._joined.get(pack, pack) for pack in hashes if pack not in self._known or pack in self._joined}
        self._state.remember(new)
        self._known |= new
        if self._graph is not None:
            from forge_p2p.git.graphs.keeping import land

            land(self._git, self._landing, self._graph)
        return fetched

    def _land(self, packs: Sequence[GitPack], wanted: Sequence[bytes], joined_from: int) -> Fetched:
        """Takes packs with their indexes as they came."""
        hashes = [pack.hash for pack in packs]
        if len(packs) >= joined_from:
            joined = join_arrived(self._landing.folder, packs, self._manifest.object_format)
            if joined is not None:
                self._joined = dict.fromkeys(hashes, joined)
                hashes = [joined]
        alone = len(hashes) == 1
        with self._state.unverified_landing(hashes, self._published.about.author):
            locks = [self._landing.land(pack, keep=alone) for pack in hashes]
        if not alone or not locks[0]:
            return Fetched()
        return Fetched(locks[0], len(packs) == len(self._manifest.packs) and self._holds(hashes[0], wanted))

    def _holds(self, pack: bytes, oids: Iterable[bytes]) -> bool:
        path = self._landing.packs + b"/" + pack_name(pack).encode() + b".idx"
        return IndexFile(path, self._git.places.oid_size).has_all(oids)

    def _index(self, packs: Sequence[GitPack]) -> Fetched:
        """Has git index and check packs, and with them what they link to, before they are the repository's. Raises
        `Untrusted`."""
        connected = True
        for pack in packs:
            with open(self._landing.path_of(pack.hash, SUFFIXES[0]), "rb") as file:
                words = ("index-pack", "--strict", "--check-self-contained-and-connected", "--stdin")
                done = self._git.start(*words, stdin=file, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                stderr = done.communicate()[1]
            if done.returncode not in (0, 1):
                raise refused(pack.hash, self._published.about, said(stderr, done.returncode))
            connected &= done.returncode == 0
        if len(packs) != 1 or len(self._manifest.packs) != 1:
            return Fetched()
        return Fetched(self._landing.hold(packs[0].hash), connected)


def names_of(packs: Iterable[GitPack], suffixes: Sequence[bytes] = SUFFIXES) -> dict[bytes, bytes]:
    """What files are to be called where they arrive, by their path in the listing."""
    paths = [path for pack in packs for path in pack_paths(pack.hash) if path.endswith(tuple(suffixes))]
    return {path: path.rpartition(b"/")[2] for path in paths}
