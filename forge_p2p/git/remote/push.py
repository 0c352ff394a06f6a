"""Pushing: a new manifest with one small pack, put right after the one that git was told of, or not at all.

There is no server that would decide: what is allowed is checked here, by the same rules and in the same words that
git's own servers have, and the name's next record is put only if nobody was faster. Who was faster with another ref is
built upon, who was faster with the same is told as "fetch first".
"""

from collections.abc import Sequence
from typing import Final

from forge_p2p.content.gitmanifest import GitManifest
from forge_p2p.content.membership import Role
from forge_p2p.errors import Conflict, Refused
from forge_p2p.git.calls import Node, Published
from forge_p2p.git.manifests import Update, manifest_for
from forge_p2p.git.putting import put_updates
from forge_p2p.git.remote.options import Options
from forge_p2p.git.remote.rules import Refspec, Wish, faults_of
from forge_p2p.git.running import Git

TRIES: Final = 16
"""Records that may come first, one after the other."""


class Push:
    """One `push` batch, on top of `published`, which git was told of. `notes` say what else happened; `pushed_upon`:
    how many packs there were before, 0 if nothing was pushed."""

    def __init__(self, node: Node, git: Git, published: Published, options: Options) -> None:
        self.notes: list[str] = []
        self.pushed_upon = 0
        self._node = node
        self._git = git
        self._published = published
        self._options = options

    def run(self, specs: Sequence[Refspec]) -> dict[bytes, str]:
        """Why each ref was not moved, empty for those that were. Raises what concerns all of them."""
        require_pusher(self._published)
        told = self._before().ref_map()
        wishes = self._wishes(specs, told)
        for _ in range(TRIES):
            faults = faults_of(self._git, self._before(), own_role(self._published), wishes)
            if self._options.atomic and any(faults.values()):
                return {ref: fault or "atomic push failed" for ref, fault in faults.items()}
            good = [wish for wish in wishes if not faults[wish.ref]]
            if not good or self._options.dry_run:
                return faults
            try:
                self._put(good)
            except Conflict:
                self._published = self._node.read()
            else:
                return faults
        raise Conflict(f"{TRIES} pushes by others came first, one after the other", hint="try again later")

    def _before(self) -> GitManifest:
        return manifest_for(self._git, self._published)

    def _wishes(self, specs: Sequence[Refspec], told: dict[bytes, bytes]) -> list[Wish]:
        sources = list(dict.fromkeys(spec.source for spec in specs if spec.source))
        new = dict(zip(sources, self._git.resolve(sources), strict=True))
        leases = self._options.leases
        return [
            Wish(spec.ref, new.get(spec.source, b""), told.get(spec.ref, b""), spec.force, leases.get(spec.ref))
            for spec in specs
        ]

    def _put(self, wishes: Sequence[Wish]) -> None:
        updates = [Update(wish.ref, wish.new) for wish in wishes]
        before = self._before()
        self.notes += put_updates(self._node, self._git, self._published, before, updates).notes
        self.pushed_upon = len(before.packs)


def own_role(published: Published) -> Role:
    """What this node is in the network of the repository."""
    return Role[published.about.own_role.upper()]


def require_pusher(published: Published) -> None:
    """Raises `Refused` for who may only read."""
    about = published.about
    if not about.member:
        raise Refused("a ticket gives a repository to read, not to push to", hint="join its network as a writer")
    role = own_role(published)
    if not role.covers(Role.WRITER):
        raise Refused(
            f"this node is a {role.name.lower()} in network {about.network!r} and may not push there",
            hint="an admin can invite it as a writer: forge network invite --role writer",
        )
