"""The names that every layer shares. Standard library only."""

from array import array
from collections.abc import Iterable
from sys import byteorder
from typing import NewType

Hash = NewType("Hash", bytes)
"""BLAKE3-256 of uncompressed bytes; always 32 bytes."""

NodeId = NewType("NodeId", bytes)
"""A node's Ed25519 public key; always 32 bytes."""

NetworkId = NewType("NetworkId", bytes)
"""A private network's Ed25519 public key; always 32 bytes."""

HASH_SIZE = 32
NODE_ID_SIZE = 32

PREFIX_SIZE = 8
"""Bytes of a hash by which a chunk is named where a mistake costs a question."""


def prefix_of(chunk: Hash) -> int:
    """The first 64 bits, big-endian."""
    return int.from_bytes(chunk[:PREFIX_SIZE], "big")


def pack_prefixes(prefixes: Iterable[int]) -> bytes:
    """Prefixes one behind the other, as they travel."""
    return _swapped(array("Q", prefixes)).tobytes()


def unpack_prefixes(data: bytes) -> "array[int]":
    """The other way. Raises `ValueError` unless they are whole."""
    return _swapped(array("Q", data))


def _swapped(prefixes: "array[int]") -> "array[int]":
    """From this machine's order of bytes to the wire's, or back; in place."""
    if byteorder == "little":
        prefixes.byteswap()
    return prefixes
