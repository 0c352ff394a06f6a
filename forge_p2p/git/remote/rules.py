"""What may be done with a ref, in the words that git turns into its own messages (`push_update_ref_status`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from forge_p2p.content.gitmanifest import GitManifest
from forge_p2p.content.gitrefname import clash_among, fault_of_ref
from forge_p2p.content.membership import Role
from forge_p2p.git.running import Git


@dataclass(frozen=True, slots=True)
class Refspec:
    """`source` is empty for a deletion."""

    source: bytes
    ref: bytes
    force: bool

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """What stands behind `push`."""
        force = text.startswith(b"+")
        source, _, ref = text.removeprefix(b"+").rpartition(b":")
        return cls(source, ref, force)


@dataclass(frozen=True, slots=True)
class Wish:
    """`new` is to be what `ref` is; empty for a deletion. `told`: what git thinks that it is now. `lease`: what it has
    to be (zeros: nothing), `None` for anything."""

    ref: bytes
    new: bytes
    told: bytes
    force: bool
    lease: bytes | None


def faults_of(git: Git, manifest: GitManifest, role: Role, wishes: Sequence[Wish]) -> dict[bytes, str]:
    """Why each wish cannot be granted, empty where it can."""
    now = manifest.ref_map()
    faults = {wish.ref: _fault(git, manifest, role, wish, now.get(wish.ref, b"")) for wish in wishes}
    if clash_among(_after(now, wishes, faults)):
        for wish in wishes:  # one after the other, to find out whose fault it is
            done = wishes[: wishes.index(wish) + 1]
            if clash := clash_among(_after(now, done, faults)):
                faults[wish.ref] = f"there cannot be both {clash.decode(errors='replace')} and refs below it"
    return faults


def _after(now: Mapping[bytes, bytes], wishes: Sequence[Wish], faults: Mapping[bytes, str]) -> set[bytes]:
    """The refs that there are once the wishes without a fault are granted."""
    good = [wish for wish in wishes if not faults[wish.ref]]
    return (now.keys() | {wish.ref for wish in good}) - {wish.ref for wish in good if not wish.new}


def _fault(git: Git, manifest: GitManifest, role: Role, wish: Wish, now: bytes) -> str:
    protected, forward = manifest.rules_for(wish.ref)
    if fault_of_ref(wish.ref):
        return "funny refname"
    if wish.lease is not None and now != (wish.lease if any(wish.lease) else b""):
        return "stale info"
    if protected and role is not Role.ADMIN:
        return "protected ref: only admins of the network move it"
    forced = wish.force or wish.lease is not None
    rewinds = ""
    if now and now != wish.new and (forward or not forced):
        rewinds = _rewinds(git, wish, now)
    if rewinds and forward:
        return "protected ref: it only goes forward"
    if forced:
        return ""
    if now != wish.told:
        return "fetch first"
    return rewinds if wish.new else ""


def _rewinds(git: Git, wish: Wish, now: bytes) -> str:
    """What would be lost by moving a ref from where it is now."""
    if not wish.new:
        return "deletion"
    if wish.ref.startswith(b"refs/tags/"):
        return "already exists"
    if not git.present([now]):
        return "fetch first"
    kinds = git.kinds([now, wish.new])
    if kinds != [b"commit", b"commit"]:
        return "needs force"
    return "" if git.contains(wish.new, now) else "non-fast forward"
