"""Which keys of a network are revoked: a set that any two members who have heard the same agree about.

What the network's key revoked stays so. What an admin revoked counts unless the network's key revoked that admin, or
whoever let it in: then it is void, for good. So void ones are dropped, whichever of the two was heard first, and the
order in which revocations arrive makes no difference.

An admin gone mad could revoke without end; what it and those it let in may fill is bounded, and the network's key ends
it all at once. What the network's key signs has no bound but its holder.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Final

from forge_p2p.content.revocation import Revocation, verify_revocation
from forge_p2p.ids import NetworkId

BY_ADMIN_MAX: Final = 1024
"""Revocations by one admin and those it let in, which all have its first certificate in common."""

DIGEST_SIZE: Final = 16

_Identity = tuple[bytes, ...]
"""The revoked key and the signers. Two revocations that differ in time or signature alone are one."""


class RevocationSet:
    """A container of revoked keys."""

    def __init__(self, network: NetworkId) -> None:
        self._network = network
        self._known: dict[_Identity, Revocation] = {}
        self._final: set[bytes] = set()
        self._by_admins: Counter[bytes] = Counter()
        """How many admins' revocations each key has."""
        self._filled: Counter[bytes] = Counter()
        """Revocations by the first key of their signers."""
        self._digest: bytes | None = None

    def __contains__(self, key: object) -> bool:
        return key in self._final or key in self._by_admins

    def __iter__(self) -> Iterator[Revocation]:
        return iter(list(self._known.values()))

    def __len__(self) -> int:
        return len(self._known)

    def knows(self, revocation: Revocation) -> bool:
        """Whether it, or its like, is in the set already."""
        return _identity(revocation) in self._known

    def is_final(self, key: bytes) -> bool:
        """Whether the network's key revoked `key`."""
        return key in self._final

    def since(self, keys: Iterable[bytes]) -> int | None:
        """When the first of `keys` was revoked, in Unix seconds by the clock of who did it; `None`: none of them is."""
        wanted = {key for key in keys if key in self}
        return min((each.time for each in self._known.values() if each.key in wanted), default=None) if wanted else None

    def is_full(self, revocation: Revocation) -> bool:
        """Whether the signer's share of the set is used up."""
        return not revocation.final and self._filled[revocation.signers[0]] >= BY_ADMIN_MAX

    def merge(self, revocation: Revocation) -> bool:
        """Adds a revocation; whether the set is another one now. Raises `NotAMember` when its signer had no right."""
        if self.knows(revocation) or not self._final.isdisjoint(revocation.signers) or self.is_full(revocation):
            return False
        verify_revocation(revocation, self._network)
        self._add(revocation)
        for void in self.depending_on(revocation.key) if revocation.final else ():
            self._remove(void)
        return True

    def depending_on(self, key: bytes) -> list[Revocation]:
        """Those that become void when the network's key revokes `key`."""
        return [each for each in self._known.values() if key in each.signers]

    def digest(self) -> bytes:
        """The same for equal sets, and for no others."""
        if self._digest is None:
            total = blake2b(digest_size=DIGEST_SIZE)
            for identity in sorted(self._known):
                total.update(len(identity).to_bytes(1, "big") + b"".join(identity))
            self._digest = total.digest()
        return self._digest

    def _add(self, revocation: Revocation) -> None:
        self._digest = None
        self._known[_identity(revocation)] = revocation
        if revocation.final:
            self._final.add(revocation.key)
        else:
            self._by_admins[revocation.key] += 1
            self._filled[revocation.signers[0]] += 1

    def _remove(self, revocation: Revocation) -> None:
        """Takes an admin's revocation out."""
        self._digest = None
        del self._known[_identity(revocation)]
        for counter, key in ((self._by_admins, revocation.key), (self._filled, revocation.signers[0])):
            counter[key] -= 1
            if not counter[key]:
                del counter[key]


def _identity(revocation: Revocation) -> _Identity:
    return (revocation.key, *revocation.signers)
