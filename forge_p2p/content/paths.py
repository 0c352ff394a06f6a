r"""What a path from outside may be, wherever it is going to be written.

The rules hold on every system, so that a snapshot which one node accepts no other refuses: they are those of git's
`verify_path`, `is_hfs_dotgit` and `is_ntfs_dotgit` (path.c, read-cache.c, utf8.c), which were learned from
CVE-2014-9390, CVE-2019-1352 and their kin, and a little more. `.git` is refused because a directory of that name holds
hooks and configuration that git executes.

Names that are odd but harmless stay legal: bytes that are not UTF-8, names that are not normalised, `Foo::Bar.3pm`,
`dev-disk-by\x2duuid`, `aux.c`.
"""

import re

from forge_p2p.content.pathtext import path_text
from forge_p2p.errors import HostileSnapshot

MAX_PATH = 4096
"""Bytes in a whole path, as Linux's PATH_MAX."""

MAX_NAME = 255
"""Bytes in one name, as Linux's NAME_MAX."""

MAX_DEPTH = 128
"""Names in one path. Every level may cost a restore one open directory."""

_MAX_SHOWN = 300

# One name that needs no closer look: printable ASCII without separators, that does not begin like `.`, `..`, `.git`,
# `git~1` or a device, and does not end in a dot or a space. Everything else takes the slow way.
_CLEAN_NAME = (
    rb"(?!\.(?:[./]|\Z|[gG][iI][tT](?![A-Za-z]))|[gG][iI][tT]~"
    rb"|(?:[cC][oO][nN]|[pP][rR][nN]|[aA][uU][xX]|[nN][uU][lL])(?![A-Za-z0-9_])"
    rb"|(?:[cC][oO][mM]|[lL][pP][tT])[1-9]|[cC][oO][nN](?:[iI][nN]|[oO][uU][tT])\$|[cC][lL][oO][cC][kK]\$)"
    rb"[!-.0-9;-\[\]-~ ]*[!-\-0-9;-\[\]-~]"
)
_CLEAN_PATH = re.compile(rb"(?:%b/)*%b" % (_CLEAN_NAME, _CLEAN_NAME)).fullmatch
_CLEAN = re.compile(_CLEAN_NAME).fullmatch

# U+200C..U+200F, U+202A..U+202E, U+206A..U+206F and U+FEFF, which HFS+ ignores when it compares names.
_HFS_IGNORED = re.compile(rb"\xe2\x80[\x8c-\x8f\xaa-\xae]|\xe2\x81[\xaa-\xaf]|\xef\xbb\xbf")

# What NTFS takes for a separator within one of our names: a backslash, or a colon before a stream's name.
_NTFS_SEPARATOR = re.compile(rb"[\\:]")

_GIT_NAMES = frozenset((b".git", b"git~1"))

# Without an extension only: `aux.c` is an ordinary file in many honest trees, and no device since Windows 11.
_DEVICE = re.compile(rb"con|prn|aux|nul|clock\$|conin\$|conout\$|(?:com|lpt)(?:[1-9]|\xc2[\xb9\xb2\xb3])").fullmatch

_STREAM_OF_DIRECTORY = b"$index_allocation"


def check_path(path: bytes) -> None:
    """Raises `HostileSnapshot`, naming the path and what is wrong, if it must not be written below a destination."""
    if len(path) <= MAX_NAME and _CLEAN_PATH(path):
        return  # no longer than one name may be, so neither too deep nor any name too long
    if not path:
        raise HostileSnapshot("the snapshot has an entry without a name")
    if len(path) > MAX_PATH:
        raise hostile(path, f"the path has {len(path)} bytes, the most is {MAX_PATH}")
    names = path.split(b"/")
    if len(names) > MAX_DEPTH:
        raise hostile(path, f"it is {len(names)} directories deep, the most is {MAX_DEPTH}")
    for name in names:
        check_name(name, path)


def check_name(name: bytes, path: bytes) -> None:
    """As `check_path` for one `name` within `path`, whose other names and whose length the caller has checked."""
    if len(name) <= MAX_NAME and _CLEAN(name):
        return
    reason = _fault(name)
    if reason:
        raise hostile(path, reason)


def _fault(name: bytes) -> str:
    """What is wrong with a name; empty if nothing is."""
    if not name:
        return "the path is absolute, ends in a slash or has an empty name in it"
    if len(name) > MAX_NAME:
        return f"a name has {len(name)} bytes, the most is {MAX_NAME}"
    if b"\0" in name or b"/" in name:
        return "a name has a zero byte or a slash in it"
    visible = _HFS_IGNORED.sub(b"", name).lower()
    return _fault_elsewhere(name, visible, _NTFS_SEPARATOR.split(visible))


def _fault_elsewhere(name: bytes, visible: bytes, parts: list[bytes]) -> str:
    """What is wrong with a name on some file system. `visible` is what HFS+ compares, `parts` how NTFS reads that."""
    if visible in (b"", b".") or any(part[:2] == b".." and not part.strip(b". ") for part in parts):
        return "it leads out of its directory"
    if any(part.rstrip(b". ") in _GIT_NAMES for part in parts):
        return "it is a spelling of '.git', whose hooks and configuration git executes"
    if _STREAM_OF_DIRECTORY in visible:
        return "it is another spelling of a directory on NTFS"
    if name[-1:] in (b".", b" "):
        return "a name ends in a dot or a space, which Windows drops"
    if _DEVICE(parts[0].rstrip(b". ")):
        return "it is the name of a device on Windows"
    return ""


def hostile(path: bytes, reason: str) -> HostileSnapshot:
    """The refusal of an entry, in words that no name can abuse to draw on a terminal."""
    shown = path_text(path[:_MAX_SHOWN]) + ("…" if len(path) > _MAX_SHOWN else "")
    return HostileSnapshot(f"refused entry '{shown}': {reason}")


def leads_outside(path: bytes, target: bytes) -> bool:
    """Whether a symlink at `path` could lead out of its tree.

    Inside are only targets that climb first, no higher than the root, and then go down by names. `..` behind a name
    could pass through another symlink and climb from wherever that leads, so it counts as outside; so does an absolute
    target. As every symlink that stays inside leads to an inside place, chains of them do too.
    """
    if target.startswith(b"/"):
        return True
    parts = [part for part in target.split(b"/") if part not in (b"", b".")]
    climbs = next((at for at, part in enumerate(parts) if part != b".."), len(parts))
    return climbs > path.count(b"/") or b".." in parts[climbs:]
