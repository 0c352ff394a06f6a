"""How long readers wait for a home: by a clock that the test sets."""

from forge_p2p.ids import NodeId
from forge_p2p.node.refs.patience import BELIEVED, FIRST, KNOWN_AWAY, Patience

HOME, OTHER = NodeId(b"h" * 32), NodeId(b"o" * 32)


def test_who_was_waited_for_in_vain_is_not_waited_for_again_at_once() -> None:
    patience = Patience()
    assert patience.for_home(HOME, 0.0) == FIRST
    patience.missed(HOME, FIRST, 3.0)
    assert patience.for_home(HOME, 4.0) == KNOWN_AWAY
    assert patience.for_home(OTHER, 4.0) == FIRST
    assert patience.for_home(HOME, 3.0 + BELIEVED) == FIRST


def test_who_is_back_is_believed_to_be_there() -> None:
    patience = Patience()
    patience.missed(HOME, FIRST, 3.0)
    patience.reached(HOME)
    assert patience.for_home(HOME, 4.0) == FIRST


def test_who_asks_often_waits_long_enough_now_and_then() -> None:
    patience, now, waited = Patience(), 0.0, []
    while now < 200.0:
        waited.append(patience.for_home(HOME, now))
        now += waited[-1]
        patience.missed(HOME, waited[-1], now)
    assert waited.count(FIRST) == 4
