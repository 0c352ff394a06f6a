"""What the name of a ref of a git repository may be: git-check-ref-format(1), and a little less.

Names come from manifests that anybody in a network may have signed, and end up as paths in `.git` and as lines of the
remote helper's protocol. What this lets through is neither a way out of `refs/` nor two lines.
"""

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

NAME_MAX: Final = 1024
"""Bytes of a whole name."""

PART_MAX: Final = 250
"""Bytes between two slashes: with git's `.lock` behind it a file name of at most 255."""

_FORBIDDEN: Final = re.compile(rb"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|$)|[/.]$")


def fault_of_ref(name: bytes) -> str:
    """What is wrong with the full name of a ref, in words; empty if nothing is."""
    if not name.startswith(b"refs/"):
        return "it does not begin with refs/"
    if len(name) > NAME_MAX:
        return f"it has more than {NAME_MAX} bytes"
    if name.count(b"/") < 2 and name != b"refs/stash":
        return "it is in no folder of refs/"
    if _FORBIDDEN.search(name) is not None:
        return "git allows no such name"
    if max(map(len, name.split(b"/"))) > PART_MAX:
        return f"a part of it has more than {PART_MAX} bytes"
    return ""


def clash_among(names: Iterable[bytes]) -> bytes | None:
    """A name that is the folder of another, which no file system can have both; `None` if there is none."""
    # No name has a zero byte, which sorts before all others: so what is below a name comes right behind it.
    ordered = sorted(name.replace(b"/", b"\0") for name in names)
    for name, after in pairwise(ordered):
        if after.startswith(name + b"\0"):
            return name.replace(b"\0", b"/")
    return None
