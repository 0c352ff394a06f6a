"""What is to be in a work tree: the files of a git tree, as `git ls-tree` lists them, checked as any stranger's are.

git checks paths when it writes them, and what writes them here is not git. A tree is *plain* when what has to be
written is exactly its blobs: no path that only git's own rules would let pass, no attribute that makes git convert
content. Of what is not plain the reason is given, and git writes it itself.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from forge_p2p.content.paths import check_path
from forge_p2p.errors import HostileSnapshot, Malformed
from forge_p2p.git.running import Git

FILE: Final = 0o100000
LINK: Final = 0o120000
MODULE: Final = 0o160000
_KIND: Final = 0o170000
_KINDS: Final = frozenset({FILE, LINK, MODULE})

_CONVERTING = re.compile(rb"\b(?:filter|ident|working-tree-encoding)\b|\bcrlf\b")
"""Attributes by which what is written differs from the blob (gitattributes(5)). On Linux plain `text` changes nothing.
A mention in a comment is enough to let git do it."""


_LIKE_GITMODULES = re.compile(rb"\.g|gi|.*[^ -~]", re.IGNORECASE | re.DOTALL)
"""How names begin, or what is in them, that some file system takes for `.gitmodules`. git lets that be no symlink."""


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of a tree. `oid` in hexadecimal."""

    path: bytes
    mode: int
    oid: bytes

    @property
    def kind(self) -> int:
        return self.mode & _KIND

    @property
    def executable(self) -> bool:
        return bool(self.mode & 0o100)


@dataclass(frozen=True, slots=True)
class Listing:
    """A tree's entries in git's order, which is that of their paths. `unplain` says why git has to write it; empty for
    a plain tree."""

    items: Sequence[Item]
    unplain: str = ""

    def folders(self) -> list[bytes]:
        """Every directory, parents first."""
        found = {item.path.rpartition(b"/")[0] for item in self.items}
        found |= {item.path for item in self.items if item.kind == MODULE}
        for path in list(found):
            while (path := path.rpartition(b"/")[0]) and path not in found:
                found.add(path)
        return sorted(found - {b""})


def list_tree(git: Git, tree: str, environment: Mapping[str, str]) -> Listing:
    """The entries of a commit or tree. Raises `GitFailed`, and `Malformed` for what cannot be a tree."""
    items = [_item(line) for line in git.run("ls-tree", "-r", "-z", "--full-tree", tree).split(b"\0")[:-1]]
    last = b""
    for item in items:
        if item.path <= last:
            raise Malformed(
                f"the tree {tree} has its entries in the wrong order, or one twice", hint="git fsck says more"
            )
        last = item.path
    try:
        for item in items:
            check_path(item.path)
    except HostileSnapshot as error:
        return Listing(items, error.message)
    if any(item.kind == LINK and _LIKE_GITMODULES.match(item.path.rpartition(b"/")[2]) for item in items):
        return Listing(items, "a symlink has a name that git looks at")
    return Listing(items, _conversions(git, items, environment))


def _item(line: bytes) -> Item:
    """`MODE TYPE OID\\tPATH`."""
    head, _, path = line.partition(b"\t")
    mode, _, oid = head.split(b" ")
    item = Item(path, int(mode, 8), oid)
    if item.kind not in _KINDS:
        raise Malformed(f"an entry of mode {item.mode:o} cannot be in a tree")
    return item


def _conversions(git: Git, items: Sequence[Item], environment: Mapping[str, str]) -> str:
    """Why content may have to be converted, as far as git's configuration and the attributes of this tree say."""
    settings = git.attempt("config", "--list", "--includes", "-z").stdout.lower()
    if re.search(rb"(?:^|\0)core\.(?:autocrlf\n(?!false)|eol\ncrlf)", settings):
        return "git is configured to convert line ends"
    named = [item.oid for item in items if item.path.rpartition(b"/")[2] == b".gitattributes" and item.kind == FILE]
    attributes = git.run("cat-file", "--batch", "--buffer", feed=[oid + b"\n" for oid in named]) if named else b""
    if _CONVERTING.search(attributes + _attributes_outside(settings, environment)):
        return "attributes have git convert some content"
    return ""


def _attributes_outside(settings: bytes, environment: Mapping[str, str]) -> bytes:
    """The attributes of the machine and of the person, where git looks for them."""
    home = environment.get("HOME", "")
    named = re.search(rb"(?:^|\0)core\.attributesfile\n", settings)
    if named:
        return b"filter"  # somebody's own file: rare enough to leave to git
    paths = ["/etc/gitattributes", f"{environment.get('XDG_CONFIG_HOME') or home + '/.config'}/git/attributes"]
    found = b""
    for path in paths:
        try:
            with open(path, "rb") as file:
                found += file.read()
        except OSError:
            continue
    return found
