"""Who is neighbour to whom, and choosing those who are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.proto.dht.subnets import Caps, Place, place_of, spread

CAPS = Caps()


@pytest.mark.parametrize(
    "host",
    ["10.1.2.3", "192.168.1.1", "172.16.0.1", "127.0.0.1", "169.254.1.1", "100.64.0.1", "::1", "fe80::1", "fd00::1"],
)
def test_local_addresses_have_no_place(host: str) -> None:
    assert place_of(host) is None


@pytest.mark.parametrize(
    ("a", "b", "same_site", "same_block"),
    [
        ("8.8.8.8", "8.8.8.9", True, True),
        ("8.8.8.8", "8.8.9.8", False, True),
        ("8.8.8.8", "8.9.8.8", False, False),
        ("2a00:1:2:3::1", "2a00:1:2:ffff::1", True, True),
        ("2a00:1:2::1", "2a00:1:3::1", False, True),
        ("2a00:1:2::1", "2a00:2:2::1", False, False),
        ("::ffff:8.8.8.8", "8.8.8.8", True, True),
        ("2002:808:808::1", "8.8.8.8", True, True),
    ],
)
def test_subnets(a: str, b: str, same_site: bool, same_block: bool) -> None:
    one, other = place_of(a), place_of(b)
    assert one is not None
    assert other is not None
    assert (one[0] == other[0], one[1] == other[1]) == (same_site, same_block)


def test_sites_and_blocks_never_share_a_number() -> None:
    hosts = [f"{first}.0.0.1" for first in (11, 12, 77)] + ["2a00::1", "2a00:0:1::1", "2600::1"]
    numbers = {number for host in hosts for number in place_of(host) or ()}
    assert len(numbers) == 2 * len(hosts) - 1, "two of them share a /32"


places = st.one_of(
    st.none(), st.builds(lambda block, site: (1000 + 10 * block + site, block), st.integers(0, 3), st.integers(0, 2))
)


@given(st.lists(places, max_size=60), st.integers(1, 25))
def test_spread(people: list[Place | None], count: int) -> None:
    entries = [(at, place, at) for at, place in enumerate(people)]
    chosen, complete = spread(entries, count, CAPS)
    assert len(chosen) == min(count, len(entries))
    assert chosen == sorted(chosen)
    assert complete == (most(entries) >= count)
    assert most(chosen) == min(most(entries), count), "nobody who fits gives way to somebody who does not"


def fits(place: Place | None, before: list[tuple[int, Place | None, int]]) -> bool:
    if place is None:
        return True
    others = [other for _, other, _ in before if other is not None]
    in_site = sum(other[0] == place[0] for other in others)
    return in_site < CAPS.site and sum(other[1] == place[1] for other in others) < CAPS.block


def most(entries: list[tuple[int, Place | None, int]]) -> int:
    chosen: list[tuple[int, Place | None, int]] = []
    for entry in entries:
        if fits(entry[1], chosen):
            chosen.append(entry)
    return len(chosen)
