"""What `.forgeignore` leaves out: gitignore's language, one file at any depth, rules of their own folder and below.

A scan asks about one name at a time, on its way down, and never enters what is ignored. So a pattern is asked whether
it names *this* entry, as git asks it. `pathspec` answers another question (whether it names the entry or anything above
it), with which a `!folder/` in a nested file would bring back all that the outer file excludes below. Hence lines are
taken apart here, `pathspec` translates the globs between their slashes, and the patterns of one file become few large
regular expressions: neighbours of the same sign are one alternation.
"""

import errno
import os
import re
import stat
import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from forge_p2p.content.pathtext import path_text
from forge_p2p.errors import UsageError
from forge_p2p.workspace.names import IGNORE_FILE

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_SIZE = 1 << 20
"""Bytes of a `.forgeignore`."""

_Match = Callable[[bytes], re.Match[bytes] | None]
_ESCAPED_SLASH = re.compile(rb"((?:^|[^\\])(?:\\\\)*)\\/")
_NOTHING = rb"(?!)"
_SENTINEL = b"SENTINEL"


def _regex_of(glob: bytes) -> bytes | None:
    """What `pathspec` makes of one pattern; `None` if git would ignore it."""
    try:
        regex: bytes | None = GitIgnoreSpecPattern.pattern_to_regex(glob)[0]
    except ValueError:
        return None
    return regex


# What surrounds the translation of a pattern without slashes, learned once from a known one.
_BEFORE, _AFTER = (_regex_of(_SENTINEL) or b"").split(_SENTINEL)


class _Pattern(NamedTuple):
    """One line. `regex` fits a whole path if the pattern is `anchored`, else its last name; a directory's ends in a
    slash. `leaves_out` is false for a line that begins with an exclamation mark."""

    regex: bytes
    anchored: bool
    leaves_out: bool


class _Group(NamedTuple):
    """Neighbouring patterns that say the same of what they match."""

    fits_name: _Match
    fits_path: _Match
    leaves_out: bool


class _Layer(NamedTuple):
    """One file: bytes of path above its folder, and its patterns, those that decide first at the front."""

    skip: int
    groups: list[_Group]


class Rules:
    """The rules that hold in one folder: those of its own `.forgeignore`, then those of the folders above."""

    def __init__(self, prefix: bytes, text: bytes, outer: "Rules | None" = None) -> None:
        """`prefix` is the folder's path with a final slash, or `b""` for the root; `text` the file's content."""
        own = _Layer(len(prefix), list(_groups(text)))
        self.layers: tuple[_Layer, ...] = (own, *outer.layers) if outer else (own,)

    def ignores(self, path: bytes, is_directory: bool) -> bool:
        """Whether the entry at `path`, whose folder is not ignored, is left out. Paths are relative to the root."""
        start = path.rfind(b"/") + 1
        if is_directory:
            path += b"/"
        name = path[start:]
        for layer in self.layers:
            for group in layer.groups:
                if group.fits_name(name) or group.fits_path(path[layer.skip :]):
                    return group.leaves_out
        return False


def read_rules(directory: int, prefix: bytes, outer: Rules | None) -> Rules | None:
    """The rules of an open directory that has a `.forgeignore`; those of `outer` if that is no file (git takes none
    that is a symlink either). Raises `UsageError`, `OSError`."""
    try:
        descriptor = os.open(IGNORE_FILE, _FLAGS, dir_fd=directory)
    except OSError as error:
        if error.errno == errno.ELOOP:
            return outer
        raise
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return outer
        text = file.read(_MAX_SIZE + 1)
    if len(text) > _MAX_SIZE:
        raise UsageError(f"{path_text(prefix + IGNORE_FILE)} is larger than {_MAX_SIZE} bytes")
    return Rules(prefix, text, outer)


def _groups(text: bytes) -> Iterator[_Group]:
    patterns = [pattern for line in reversed(text.split(b"\n")) if (pattern := _parse(line))]
    for leaves_out, neighbours in groupby(patterns, key=lambda pattern: pattern.leaves_out):
        group = list(neighbours)
        fits = [
            _any_of(pattern.regex for pattern in group if pattern.anchored is anchored) for anchored in (False, True)
        ]
        yield _Group(fits[0], fits[1], leaves_out)


def _any_of(regexes: Iterable[bytes]) -> _Match:
    combined = _compile(b"|".join(regexes) or _NOTHING)
    assert combined is not None, "each of them compiled"
    return combined.fullmatch


def _parse(line: bytes) -> _Pattern | None:
    """What a line says; `None` for a comment, or for what git would ignore."""
    line = _without_trailing_spaces(line.removesuffix(b"\r"))
    if not line or line.startswith(b"#"):
        return None
    leaves_out = not line.startswith(b"!")
    body = line if leaves_out else line[1:]
    only_directories = body.endswith(b"/")
    body = _ESCAPED_SLASH.sub(rb"\1/", body.removesuffix(b"/"))
    anchored = b"/" in body
    names = body.removeprefix(b"/").split(b"/")
    if names == [b""]:
        return None
    regex = _join(names) if anchored else _translate(names[0])
    return _Pattern(regex + (b"/" if only_directories else b"/?"), anchored, leaves_out) if regex is not None else None


def _without_trailing_spaces(line: bytes) -> bytes:
    stripped = line.rstrip(b" ")
    escapes = len(stripped) - len(stripped.rstrip(b"\\"))
    return line[: len(stripped) + 1] if escapes % 2 and len(stripped) < len(line) else stripped


def _join(names: list[bytes]) -> bytes | None:
    """The globs between slashes as one regex; `**`, or more stars, is any number of names, at the end at least one."""
    regex = b""
    last = len(names) - 1
    for index, name in enumerate(names):
        if len(name) > 1 and not name.strip(b"*"):
            regex += rb".+" if index == last else rb"(?:.*/)?"
            continue
        part = _translate(name)
        if part is None:
            return None
        regex += part if index == last else part + b"/"
    return regex


def _translate(glob: bytes) -> bytes | None:
    """The regex for one name, by `pathspec`; guarded at both ends, which a whole line would have read differently."""
    if not glob:
        return b""
    if not glob.strip(b"*"):
        return rb"[^/]+"
    if glob[:1] in (b"#", b"!"):
        glob = b"\\" + glob
    guard = b"" if glob.endswith(b"\\") else b"x"
    whole = _regex_of(glob + guard)
    if whole is None:
        return None
    regex = whole[len(_BEFORE) : len(whole) - len(_AFTER) - len(guard)]
    return regex if _compile(regex) else None


def _compile(regex: bytes) -> re.Pattern[bytes] | None:
    """`None` for what Python refuses: `pathspec` hands on what stands between brackets, backward ranges included. It
    warns of brackets that may get another meaning one day; that day the tests will tell."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return re.compile(regex, re.DOTALL)
    except re.error:
        return None
