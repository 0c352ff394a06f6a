"""What a person writes for a name: `NAME`, `NETWORK/NAME`, either with `@SEQ`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forge_p2p.content.ref import written_seq
from forge_p2p.content.refname import check_name
from forge_p2p.errors import UsageError
from forge_p2p.ids import NetworkId
from forge_p2p.node.nobody import IN_NONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forge_p2p.node.membership.networks import Joined


@dataclass(frozen=True, slots=True)
class Named:
    """A name in a network. `seq`: one of its records; 0: the newest."""

    joined: "Joined"
    name: str
    seq: int

    @property
    def network(self) -> NetworkId:
        return self.joined.network

    def ref(self, seq: int) -> str:
        """The way to write one of its records."""
        return f"{self.joined.name}/{self.name}@{seq}"


def parse_name(joined: "Sequence[Joined]", text: str, in_network: str = "") -> Named:
    """`in_network` names the network; without it the first part of `text` does, if it is the name of one; else it is
    the only one that there is. Raises `UsageError`."""
    text, seq = _split_seq(text)
    if in_network:
        return Named(chosen_network(joined, in_network), check_name(text), seq)
    first, slash, rest = text.partition("/")
    for each in joined:
        if slash and rest and each.name == first:
            return Named(each, check_name(rest), seq)
    return Named(_only(joined), check_name(text), seq)


def chosen_network(joined: "Sequence[Joined]", name: str) -> "Joined":
    """The network of this name, or the only one. Raises `UsageError`."""
    return _named(joined, name) if name else _only(joined)


def _split_seq(text: str) -> tuple[str, int]:
    name, at, number = text.partition("@")
    if not at:
        return text, 0
    seq = written_seq(number)
    if not seq:
        raise UsageError(f"{text!r} names no record: {number!r} is no number of one", hint="write NAME@3 for record 3")
    return name, seq


def _named(joined: "Sequence[Joined]", name: str) -> "Joined":
    matching = [each for each in joined if name in {each.name, each.network.hex()}]
    if len(matching) != 1:
        raise UsageError(f"this node is in no network {name!r}", hint=f"it is in: {_names(joined)}")
    return matching[0]


def _only(joined: "Sequence[Joined]") -> "Joined":
    if not joined:
        raise UsageError(
            IN_NONE,
            hint="forge network create NAME or forge network join TOKEN",
        )
    if len(joined) > 1:
        raise UsageError(
            "this node is in several networks", hint=f"write NETWORK/NAME, or say --network: {_names(joined)}"
        )
    return joined[0]


def _names(joined: "Sequence[Joined]") -> str:
    return ", ".join(sorted(each.name for each in joined)) or "none"
