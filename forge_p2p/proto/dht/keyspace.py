"""Where nodes and keys are: 160-bit numbers, as in Kademlia (P. Maymounkov and D. Mazières, 2002), distance by XOR."""

from collections.abc import MutableSequence, Sequence
from functools import lru_cache
from typing import Any, Final, Protocol, TypeVar

from forge_p2p.content.link import hash_bytes
from forge_p2p.ids import NodeId

KEY_BITS: Final = 160
KEY_SIZE: Final = KEY_BITS // 8
KEY_SPACE: Final = 1 << KEY_BITS

Item = TypeVar("Item")


class Randomness(Protocol):
    """The part of `random.Random` that is used; handed in, so that a seed decides everything."""

    def random(self) -> float: ...
    def getrandbits(self, k: int, /) -> int: ...
    def sample(self, population: Sequence[Item], k: int) -> list[Item]: ...
    def shuffle(self, x: MutableSequence[Any]) -> None: ...


@lru_cache(maxsize=1 << 14)
def node_key(node_id: NodeId) -> int:
    """A node's place: the first 160 bits of BLAKE3 of its id. Kept for the nodes met last (some 3 MB at most), because
    every answer names the same ones."""
    return int.from_bytes(hash_bytes(node_id)[:KEY_SIZE], "big")


def key_bytes(key: int) -> bytes:
    return key.to_bytes(KEY_SIZE, "big")


def random_key(low: int, high: int, rng: Randomness) -> int:
    """Any key of `low` to `high`, both included; they are the ends of a bucket, so a power of two apart."""
    return low + rng.getrandbits((high - low + 1).bit_length() - 1)
