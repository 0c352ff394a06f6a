"""What git tells its helper beforehand."""

import re
from dataclasses import dataclass, field

from forge_p2p.errors import Malformed

BACKGROUND, NOW, NEVER = "background", "now", "never"
"""`git config forge.verify`: when that is checked which was taken as it came."""

_ESCAPE = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_ESCAPES = {b"a": b"\a", b"b": b"\b", b"t": b"\t", b"n": b"\n", b"v": b"\v", b"f": b"\f", b"r": b"\r"}


@dataclass(slots=True)
class Options:
    """As gitremote-helpers(7) has them. `leases`: what `--force-with-lease` expects of refs. `partial`: what of a
    shallow or partial repository is wanted, for which there is `connect`."""

    verbosity: int = 1
    progress: bool = False
    dry_run: bool = False
    atomic: bool = False
    cloning: bool = False
    check_connectivity: bool = False
    object_format: bool = False
    refetch: bool = False
    partial: list[tuple[str, str]] = field(default_factory=list)
    leases: dict[bytes, bytes] = field(default_factory=dict)

    def hear(self, rest: bytes) -> str:
        """The answer to `option NAME VALUE`, of which this is the rest."""
        name, _, value = rest.partition(b" ")
        return self.take(name.decode(errors="replace"), value)

    def take(self, name: str, value: bytes) -> str:
        """The answer to `option NAME VALUE`."""
        value = unquoted(value)
        if name == "verbosity":
            self.verbosity = int(value) if value.isdigit() else 1
        elif name in _FLAGS:
            setattr(self, name.replace("-", "_"), value != b"false")
        elif name == "cas":
            ref, _, expected = value.rpartition(b":")
            self.leases[ref] = bytes.fromhex(expected.decode())
        elif name in _PARTIAL:
            self.partial.append((name, value.decode(errors="surrogateescape")))
        elif name not in _HARMLESS:
            return "unsupported"
        return "ok"

    def depth_words(self) -> list[str]:
        """How `git fetch` is told of the depth. Filters are left out: who gets more than was asked for has it all. For
        tags, git takes back what it has said of depth before, by 0 and `false`."""
        last = dict(self.partial)
        words = {
            "depth": "--deepen" if last.get("deepen-relative") == "true" else "--depth",
            "deepen-since": "--shallow-since",
            "deepen-not": "--shallow-exclude",
        }
        told = [(name, value) for name, value in self.partial if name == "deepen-not" or last[name] == value]
        found = [f"{words[name]}={value}" for name, value in told if name in words and value != "0"]
        return list(dict.fromkeys(found))


_FLAGS = frozenset({"progress", "dry-run", "atomic", "cloning", "check-connectivity", "object-format", "refetch"})
"""git leaves the value of `object-format` out when it means true."""

_PARTIAL = frozenset({"depth", "deepen-since", "deepen-not", "deepen-relative", "filter", "from-promisor"})
"""Answered by git itself, over `connect`."""

_HARMLESS = frozenset({"followtags", "update-shallow", "force-if-includes", "force", "family"})
"""What git has seen to already, or what makes no difference here."""


def unquoted(value: bytes) -> bytes:
    """A value without git's quotes, if it has any. Raises `Malformed`."""
    if not value.startswith(b'"'):
        return value
    if len(value) < 2 or not value.endswith(b'"'):
        raise Malformed("git sent half a quoted word")
    return _ESCAPE.sub(_unescaped, value[1:-1])


def _unescaped(match: "re.Match[bytes]") -> bytes:
    word = match[1]
    return bytes((int(word, 8) & 0xFF,)) if word.isdigit() else _ESCAPES.get(word, word)
