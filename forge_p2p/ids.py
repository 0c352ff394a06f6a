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
