"""Links as text: `fblob1…` for plain bytes, `ftree1…` for a directory, with a checksum (see `armor`).

The body is the level (1 byte), the hash (32) and the size in as few bytes as it takes, least significant first: about
75 characters in all.
"""

from typing import Final

from forge_p2p.content.armor import armor, unarmor
from forge_p2p.content.link import CHUNK_MAX, MAX_LEVEL, MAX_SIZE, Kind, Link, Root
from forge_p2p.errors import UsageError
from forge_p2p.ids import HASH_SIZE, Hash

LINK_VERSION: Final = 1

_NAMES: Final = {f"f{kind.value}": kind for kind in Kind}


def format_link(root: Root) -> str:
    """The text of `root`; `parse_link` takes it back."""
    link = root.link
    size = link.size.to_bytes((link.size.bit_length() + 7) // 8, "little")
    return armor(f"f{root.kind.value}", LINK_VERSION, bytes((link.level,)) + link.hash + size)


def is_link(text: str) -> bool:
    """Whether `text` is meant to be a link."""
    word = text.strip().lower()
    return any(word.startswith(name) and word[len(name) : len(name) + 1].isdecimal() for name in _NAMES)


def parse_link(text: str) -> Root:
    """The root that `text` names. Raises `UsageError`: no link, another version, truncated, mistyped, impossible."""
    name, body = unarmor(text, tuple(_NAMES), LINK_VERSION, "link")
    size = int.from_bytes(body[1 + HASH_SIZE :], "little")
    if len(body) < 1 + HASH_SIZE or body[1 + HASH_SIZE :][-1:] == b"\0" or not is_possible(size, body[0]):
        raise UsageError("this link names something impossible", hint="it was made by a program that is not Forge")
    return Root(_NAMES[name], Link(Hash(body[1 : 1 + HASH_SIZE]), size, body[0]))


def is_possible(size: int, level: int) -> bool:
    """Whether content of `size` bytes can be what a link of `level` names."""
    return size <= CHUNK_MAX if level == 0 else level <= MAX_LEVEL and CHUNK_MAX < size <= MAX_SIZE
