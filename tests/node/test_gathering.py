"""How long few news are gathered before they are told."""

from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.node.membership.following import GATHER, GATHER_MOST, gathering

LATE = st.floats(-1.0, 1000.0)


@given(LATE, LATE)
def test_who_is_later_gathers_for_longer_within_bounds(one: float, other: float) -> None:
    early, late = sorted((one, other))
    assert GATHER <= gathering(early) <= gathering(late) <= GATHER_MOST


def test_who_is_never_late_gathers_as_ever() -> None:
    assert gathering(0.0) == GATHER
