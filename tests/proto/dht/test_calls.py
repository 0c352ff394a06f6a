"""How long to wait for whom."""

from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.proto.dht.calls import PATIENCE_FIRST, PATIENCE_MAX, PATIENCE_MIN, TIMEOUT_MAX, Call, Calls, Patience
from forge_p2p.proto.dht.messages import FindNode, Output, Reply
from tests.proto.dht.people import contact


class Listener:
    """An owner of queries."""

    def replied(self, call: Call, message: Reply, now: float) -> None:
        raise AssertionError

    def late(self, call: Call, now: float) -> None:
        raise AssertionError

    def failed(self, call: Call, now: float) -> None:
        raise AssertionError


def send(calls: Calls, now: float) -> None:
    calls.send(Listener(), contact(1), FindNode(bytes(20)), None, now)


@given(st.lists(st.floats(0.001, 10.0), max_size=50), st.integers(0, 50))
def test_patience_has_bounds(trips: list[float], late: int) -> None:
    patience = Patience()
    for trip in trips:
        patience.answered(trip)
    for _ in range(late):
        patience.late()
    assert PATIENCE_MIN <= patience.seconds <= PATIENCE_MAX


def test_patience_follows_the_network() -> None:
    patience = Patience()
    assert patience.seconds == PATIENCE_FIRST
    for _ in range(50):
        patience.answered(0.02)
    assert patience.seconds < 0.15
    for _ in range(50):
        patience.answered(0.5)
    assert 0.5 < patience.seconds < 1.0


def test_a_network_that_got_slower_is_waited_for() -> None:
    """Learning from answers that are late: patience that learned from those in time only would stay too short."""
    out: list[Output] = []
    calls = Calls(out)
    now = 0.0
    for _ in range(30):
        send(calls, now)
        assert calls.answered(calls._next_number - 1, now + 0.01)
    assert calls.patience.seconds < 0.2
    in_time = False
    for _ in range(30):
        now += 10
        send(calls, now)
        trip = 1.0
        in_time = not list(calls.expired(now + trip))
        assert calls.answered(calls._next_number - 1, now + trip)
    assert in_time


def test_a_query_is_late_once_and_then_fails() -> None:
    calls = Calls([])
    send(calls, 0.0)
    assert calls.next_deadline() == PATIENCE_FIRST
    ((call, over),) = calls.expired(PATIENCE_FIRST)
    assert not over
    assert calls.next_deadline() == call.timeout <= TIMEOUT_MAX
    assert not list(calls.expired(call.timeout - 0.01))
    assert [over for _, over in calls.expired(call.timeout)] == [True]
    assert calls.next_deadline() is None
    assert calls.answered(call.number, call.timeout) is None
    assert len(calls) == 0


def test_a_query_far_past_its_time_fails_at_once() -> None:
    calls = Calls([])
    send(calls, 0.0)
    assert [over for _, over in calls.expired(1e6)] == [True]


def test_late_queries_make_patient() -> None:
    patience = Patience()
    patience.answered(0.1)
    before = patience.seconds
    patience.late()
    assert patience.seconds > before
    patience.answered(0.1)
    assert patience.seconds <= before
