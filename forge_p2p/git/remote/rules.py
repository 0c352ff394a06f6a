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
    if forward and now and now != wish.new and _rewinds(git, wish, now):
        return "protected ref: it only goes forward"
    if wish.force or wish.lease is not None:
        return ""
    if now != wish.told:
        return "fetch first"
    return _unforced(git, wish, now) if now and wish.new and now != wish.new else ""


def _unforced(git: Git, wish: Wish, now: bytes) -> str:
    """Why a ref is not moved without a force. What only walking history shows is git's business: it has compared what
    it was told with what it has, and asks neither to rewind a branch nor to move a tag (`set_ref_status_for_push`). Of
    what it has not, it asks all the same."""
    kinds = git.kinds([now, wish.new])
    if kinds[0] == b"missing":
        return "fetch first"
    return "" if kinds == [b"commit", b"commit"] or wish.ref.startswith(b"refs/tags/") else "needs force"


def _rewinds(git: Git, wish: Wish, now: bytes) -> bool:
    """Whether something would be lost by moving a ref from where it is now, or might be."""
    if not wish.new or wish.ref.startswith(b"refs/tags/") or git.kinds([now, wish.new]) != [b"commit", b"commit"]:
        return True
    return not git.contains(wish.new, now)
