"""What a URL's path names. Whatever is not exactly one of the forms below names nothing.

    /blobs/ab/cdef…                      a chunk, by the hex of its hash
    /links/LINK[/PATH]                   a file, or what is in a directory
    /refs/[NETWORK/]NAME[@SEQ][/PATH]    what a name stands for

Paths are taken as they are sent: percent-decoded once, never normalised. A part that is empty, `.` or `..`, or holds a
slash or a NUL after decoding, names nothing, so no spelling of a path leads anywhere that another does not.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from forge_p2p.content.link import Root
from forge_p2p.content.linktext import format_link, parse_link
from forge_p2p.errors import UsageError
from forge_p2p.ids import Hash

_BLOB = re.compile(r"([0-9a-f]{2})/([0-9a-f]{62})")
_HEX_ESCAPE = re.compile(rb"%[0-9A-Fa-f]{2}")

PARTS_MAX: Final = 512
"""Names of one path."""


@dataclass(frozen=True, slots=True)
class BlobTarget:
    """A chunk."""

    hash: Hash


@dataclass(frozen=True, slots=True)
class LinkTarget:
    """`path`: what is meant in the directory, without slashes around it. `slash`: the URL ends in one."""

    root: Root
    path: bytes
    slash: bool

    @property
    def text(self) -> str:
        return format_link(self.root)


@dataclass(frozen=True, slots=True)
class RefTarget:
    """The parts after /refs/: which of them are network, name and path depends on the names there are."""

    parts: tuple[bytes, ...]
    slash: bool


Target = BlobTarget | LinkTarget | RefTarget


def parse_target(path: str) -> Target | None:
    """What `path` (as sent, without the query) names; `None` for nothing."""
    family, _, rest = path.removeprefix("/").partition("/")
    if not path.startswith("/") or not rest:
        return None
    if family == "blobs":
        match = _BLOB.fullmatch(rest)
        return BlobTarget(Hash(bytes.fromhex(match[1] + match[2]))) if match else None
    parts = _parts(rest)
    if parts is None:
        return None
    slash = rest.endswith("/")
    if family == "links":
        root = _root(parts[0])
        return LinkTarget(root, b"/".join(parts[1:]), slash) if root is not None else None
    return RefTarget(tuple(parts), slash) if family == "refs" else None


def _parts(rest: str) -> list[bytes] | None:
    """The decoded names of a path, its closing slash left out."""
    try:
        raw = rest.encode("ascii")
    except UnicodeEncodeError:
        return None
    if raw.count(b"%") != len(_HEX_ESCAPE.findall(raw)):
        return None
    parts = [unquote_to_bytes(part) for part in raw.removesuffix(b"/").split(b"/")]
    if len(parts) > PARTS_MAX or any(part in {b"", b".", b".."} or b"/" in part or b"\0" in part for part in parts):
        return None
    return parts


def _root(text: bytes) -> Root | None:
    """A link in the one spelling that `format_link` gives: others would be other keys of every cache."""
    try:
        word = text.decode("ascii")
        root = parse_link(word)
    except (UsageError, UnicodeDecodeError):
        return None
    return root if format_link(root) == word else None


def quote(path: bytes) -> str:
    """A path as it stands in a URL."""
    return quote_from_bytes(path, safe="/")
