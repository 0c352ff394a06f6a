"""Names with a meaning of their own in a directory."""

import os
import re

from forge_p2p.content.link import Root, hash_bytes
from forge_p2p.workspace.statcache import boot_id

IGNORE_FILE = b".forgeignore"
"""What is in it is not shared; see `ignore`."""

_GIT_NAMES = frozenset((b".git", b"git~1"))

_PARTIAL = b".forge-partial"
_TEMPORARY = b".forge-tmp-"
_KEY = 32
"""Hexadecimal digits: no second snapshot has the same key, were it made for that."""
_NAME_MAX = 255

_PROBE = ".forge-probe-{}-\u00e9"

_IS_LEFTOVER = re.compile(
    rb"\..*\.[0-9a-f]{32}\.forge-partial|\.forge-tmp-[0-9a-f]{32}|\.forge-probe-[0-9a-f]{12}-.*", re.DOTALL
).fullmatch


def partial_key(root: Root) -> bytes:
    """What a partial's name says of the snapshot that it is of. It changes when the machine restarts: what was written
    before may not have reached the disk and is not taken up again."""
    named = root.kind.value.encode() + root.link.hash + boot_id().encode()
    return hash_bytes(named)[: _KEY // 2].hex().encode()


def partial_name(name: bytes, key: bytes) -> bytes:
    """Under which the directory `name` is built, beside its place."""
    return _partial_prefix(name) + key + _PARTIAL


def is_partial_of(name: bytes, other: bytes) -> bool:
    """Whether `other` is the name of a partial of `name`, for whatever snapshot."""
    prefix = _partial_prefix(name)
    return other.startswith(prefix) and len(other) == len(prefix) + _KEY + len(_PARTIAL) and is_leftover(other)


def _partial_prefix(name: bytes) -> bytes:
    """A name too long to be extended is represented by its hash."""
    if len(name) + _KEY + len(_PARTIAL) + 2 > _NAME_MAX:
        name = hash_bytes(name)[:16].hex().encode()
    return b"." + name + b"."


def temporary_name(name: bytes) -> bytes:
    """What a file is called until it replaces `name` in the same directory."""
    return _TEMPORARY + hash_bytes(name)[:16].hex().encode()


def probe_name() -> str:
    """A new name with another spelling in upper case, and another in the other normal form."""
    return _PROBE.format(os.urandom(6).hex())


def is_leftover(name: bytes) -> bool:
    """Whether a restore that runs, or was killed, made this: never shared, and cleaned up by the next restore."""
    return name[:1] == b"." and _IS_LEFTOVER(name) is not None


def is_git(name: bytes) -> bool:
    """Whether git keeps its own data under this name, which is never shared, nor removed."""
    return name.lower() in _GIT_NAMES
