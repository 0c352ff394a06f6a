"""The names that every layer shares. Standard library only."""

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
