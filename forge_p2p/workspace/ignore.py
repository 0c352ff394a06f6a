"""What `.forgeignore` leaves out: gitignore's language, one file at any depth, rules of their own folder and below.

A scan asks about one name at a time, on its way down, and never enters what is ignored. So a pattern is asked whether
it names *this* entry, as git asks it. `pathspec` answers another question (whether it names the entry or anything above
it), with which a `!folder/` in a nested file would bring back all that the outer file excludes below. Hence lines are
taken apart here, `pathspec` translates the globs between their slashes, and the patterns of one file become few large
regular expressions: neighbours of the same sign are one alternation.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

MAX_IGNORE_SIZE = 1 << 20
"""Bytes. A larger one is no list of patterns."""

_FLAGS = re.DOTALL

_Match = Callable[[bytes], re.Match[bytes] | None]
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


@dataclass(frozen=True, slots=True)
class _Layer:
    """One file: bytes of path above its folder, and its patterns, those that decide first at the front, each with
    whether it leaves out what it matches."""

    skip: int
    groups: list[tuple[_Match, bool]]


class Rules:
    """The rules that hold in one folder: those of its own `.forgeignore`, then those of the folders above."""

    def __init__(self, prefix: bytes, text: bytes, outer: "Rules | None" = None) -> None:
        """`prefix` is the folder's path with a final slash, or `b""` for the root; `text` the file's content."""
        own = _Layer(len(prefix), list(_groups(text)))
        self.layers: tuple[_Layer, ...] = (own, *outer.layers) if outer else (own,)

    def ignores(self, path: bytes, is_directory: bool) -> bool:
        """Whether the entry at `path`, whose folder is not ignored, is left out. Paths are relative to the root."""
        whole = path + b"/" if is_directory else path
        for layer in self.layers:
            candidate = whole[layer.skip :]
            for matches, leaves_out in layer.groups:
                if matches(candidate):
                    return leaves_out
        return False


def _groups(text: bytes) -> Iterator[tuple[_Match, bool]]:
    """The file's patterns for a `_Layer`."""
    patterns = [pattern for line in reversed(text.split(b"\n")) if (pattern := _parse(line))]
    for leaves_out, group in groupby(patterns, key=lambda pattern: pattern[1]):
        yield re.compile(b"|".join(regex for regex, _ in group), _FLAGS).fullmatch, leaves_out


def _parse(line: bytes) -> tuple[bytes, bool] | None:
    """One line as `(regex, leaves out)`; the regex fits a whole path, which ends in a slash if it is a directory's."""
    line = _without_trailing_spaces(line.removesuffix(b"\r"))
    if not line or line.startswith(b"#"):
        return None
    leaves_out = not line.startswith(b"!")
    body = line if leaves_out else line[1:]
    only_directories = body.endswith(b"/")
    body = body.removesuffix(b"/")
    anchored = b"/" in body
    names = body.removeprefix(b"/").split(b"/")
    if names == [b""]:
        return None
    regex = _join(names, anchored)
    return (regex + (b"/" if only_directories else b"/?"), leaves_out) if regex is not None else None


def _without_trailing_spaces(line: bytes) -> bytes:
    stripped = line.rstrip(b" ")
    escapes = len(stripped) - len(stripped.rstrip(b"\\"))
    return line[: len(stripped) + 1] if escapes % 2 and len(stripped) < len(line) else stripped


def _join(names: list[bytes], anchored: bool) -> bytes | None:
    """The globs between slashes as one regex; `**` stands for any number of names, at the end for at least one."""
    regex = b"" if anchored else b"(?:.*/)?"
    last = len(names) - 1
    for index, name in enumerate(names):
        if name == b"**" and anchored:
            regex += rb".+" if index == last else rb"(?:.*/)?"
            continue
        part = _translate(name)
        if part is None:
            return None
        regex += part if index == last else part + b"/"
    return regex


def _translate(glob: bytes) -> bytes | None:
    """The regex for one name, by `pathspec`; guarded where a whole line would mean something else."""
    if not glob:
        return b""
    if not glob.strip(b"*"):
        return rb"[^/]*"
    if glob[:1] in (b"#", b"!"):
        glob = b"\\" + glob
    if glob[-1:].isspace() and not glob.endswith(b"\\ "):
        glob = glob[:-1] + b"[" + glob[-1:] + b"]"
    regex = _regex_of(glob)
    return regex[len(_BEFORE) : len(regex) - len(_AFTER)] if regex is not None else None
