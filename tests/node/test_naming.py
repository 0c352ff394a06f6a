"""How a name is written on the command line."""

import pytest

from forge_p2p.errors import UsageError
from forge_p2p.node.membership.networks import Joined
from forge_p2p.node.refs.naming import chosen_network, parse_name
from tests.content.networks import World


def joined(number: int, name: str) -> Joined:
    world = World(number)
    return Joined(world.id, name, world.founder().chain, (), None, b"", b"")


TEAM, OTHER = joined(1000, "team"), joined(2000, "other")


@pytest.mark.parametrize(
    ("networks", "text", "option", "found"),
    [
        ([TEAM], "nightly", "", ("team", "nightly", 0)),
        ([TEAM], "a/b", "", ("team", "a/b", 0)),
        ([TEAM], "team/a/b@7", "", ("team", "a/b", 7)),
        ([TEAM], "team", "", ("team", "team", 0)),
        ([TEAM, OTHER], "other/a", "", ("other", "a", 0)),
        ([TEAM, OTHER], "other/a", "team", ("team", "other/a", 0)),
        ([TEAM, OTHER], "a@3", "other", ("other", "a", 3)),
        ([TEAM, OTHER], "a", TEAM.network.hex(), ("team", "a", 0)),
    ],
)
def test_what_is_meant(networks: list[Joined], text: str, option: str, found: tuple[str, str, int]) -> None:
    named = parse_name(networks, text, option)
    assert (named.joined.name, named.name, named.seq) == found
    assert named.ref(9) == f"{found[0]}/{found[1]}@9"


@pytest.mark.parametrize(
    ("networks", "text", "option", "problem"),
    [
        ([], "nightly", "", "this node is in none"),
        ([TEAM, OTHER], "nightly", "", "in several networks"),
        ([TEAM, OTHER], "third/nightly", "", "in several networks"),
        ([TEAM], "nightly", "other", "in no network 'other'"),
        ([TEAM], "team/", "", "cannot be a name"),
        ([TEAM], "a@", "", "names no record"),
        ([TEAM], "a@0", "", "names no record"),
        ([TEAM], "a@-1", "", "names no record"),
        ([TEAM], "a@1@2", "", "names no record"),
        ([TEAM], f"a@{1 << 63}", "", "names no record"),
        ([TEAM], f"a@{'1' * 5000}", "", "names no record"),
        ([TEAM], "a@٣", "", "names no record"),
        ([TEAM], "../a", "", "cannot be a name"),
    ],
)
def test_what_means_nothing(networks: list[Joined], text: str, option: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        parse_name(networks, text, option)


def test_networks_are_chosen_by_name() -> None:
    assert chosen_network([TEAM, OTHER], "other") is OTHER
    assert chosen_network([TEAM], "") is TEAM
