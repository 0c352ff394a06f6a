"""The table of who is on the LAN: bounded, and not to be filled by strangers."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from forge_p2p.ids import NodeId
from forge_p2p.net import neighbours
from forge_p2p.net.advert import Advert, encode_text, instance_name
from forge_p2p.net.links import Links
from forge_p2p.net.neighbours import MAX_PEERS, Neighbours, Sighting

OURS = b"a tag of ours.  "
ME = Advert(NodeId(b"m" * 32), frozenset({OURS}))
LINKS = Links(ipv6=True, is_lan=True)
ADDRESS = "10.0.0.9"


class Told:
    """A table, and what it told."""

    def __init__(self) -> None:
        self.known: dict[str, Sighting | None] = {}
        self.count = 0
        self.ours = OURS
        self.table = Neighbours(ME.node_id, lambda _, tags: self.ours in tags, self.changed)

    def changed(self, name: str, sighting: Sighting | None) -> None:
        self.known[name] = sighting
        self.count += 1

    def saw(self, advert: Advert, *addresses: str, port: int = 7, now: float = 0.0) -> str:
        name = instance_name(advert.node_id)
        self.table.saw(name, encode_text(advert), addresses or (ADDRESS,), port, LINKS, now)
        return name


def stranger(seed: int) -> Advert:
    rng = random.Random(seed)
    return Advert(NodeId(rng.randbytes(32)), frozenset({rng.randbytes(16)}))


def member(seed: int) -> Advert:
    return Advert(stranger(seed).node_id, frozenset({OURS}))


def test_what_changes_is_told_once() -> None:
    told = Told()
    name = told.saw(stranger(1))
    told.saw(stranger(1))
    assert told.count == 1
    told.saw(stranger(1), "10.0.0.8")
    told.saw(member(1), "10.0.0.8")
    assert told.count == 3
    assert (sighting := told.known[name]) is not None
    assert sighting.tags == {OURS}
    told.table.lost(name)
    told.table.lost(name)
    assert told.count == 4
    assert told.known == {name: None}
    assert not told.table.peers


def test_what_is_not_believed() -> None:
    told = Told()
    told.saw(ME)
    told.saw(stranger(1), "8.8.8.8")
    told.saw(stranger(1), port=0)
    told.table.saw(instance_name(stranger(2).node_id), encode_text(stranger(1)), [ADDRESS], 7, LINKS, 0.0)
    told.table.saw(instance_name(stranger(1).node_id), b"\xff", [ADDRESS], 7, LINKS, 0.0)
    assert told.count == 0


def test_who_can_be_reached_nowhere_is_gone() -> None:
    told = Told()
    name = told.saw(stranger(1))
    told.saw(stranger(1), "8.8.8.8")
    assert told.known == {name: None}


def test_a_full_table_keeps_members() -> None:
    told = Told()
    for seed in range(MAX_PEERS):
        told.saw(stranger(seed))
    late = told.saw(stranger(MAX_PEERS))
    assert late not in told.table.peers
    mate = told.saw(member(MAX_PEERS))
    assert mate in told.table.peers
    assert len(told.table.peers) == MAX_PEERS
    assert told.known[instance_name(stranger(0).node_id)] is None, "the first stranger made room"


def test_a_table_full_of_members_takes_nobody() -> None:
    told = Told()
    for seed in range(MAX_PEERS):
        told.saw(member(seed))
    assert told.saw(member(MAX_PEERS)) not in told.table.peers
    told.ours = b"another network."
    told.table.networks_changed()
    newcomer = Advert(stranger(MAX_PEERS).node_id, frozenset({told.ours}))
    assert told.saw(newcomer) in told.table.peers, "members of a network that was left make room"


def test_who_is_not_heard_of_expires() -> None:
    told = Told()
    old, kept, young = told.saw(stranger(1), now=1.0), told.saw(stranger(2), now=1.0), told.saw(stranger(3), now=5.0)
    told.table.expire({kept}, before=5.0)
    assert set(told.table.peers) == {kept, young}
    assert told.known[old] is None


EVENTS = st.lists(st.tuples(st.sampled_from(["saw", "mate", "lost"]), st.integers(0, 12)), max_size=60)


@given(EVENTS)
@settings(max_examples=200)
def test_who_listens_knows_what_the_table_holds(events: list[tuple[str, int]]) -> None:
    most, neighbours.MAX_PEERS = neighbours.MAX_PEERS, 5
    try:
        told = Told()
        for kind, seed in events:
            if kind == "lost":
                told.table.lost(instance_name(stranger(seed).node_id))
            else:
                told.saw(stranger(seed) if kind == "saw" else member(seed))
            assert {name: one for name, one in told.known.items() if one is not None} == told.table.peers
            assert len(told.table.peers) <= 5
    finally:
        neighbours.MAX_PEERS = most
