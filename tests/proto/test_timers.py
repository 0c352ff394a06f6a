from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.proto.timers import Deadlines, TokenBucket

keys = st.integers(0, 5)
times = st.floats(0, 100)


@given(st.lists(st.tuples(st.sampled_from(["set", "cancel", "pop"]), keys, times), max_size=300))
def test_deadlines_are_a_dictionary_with_a_smallest(steps: list[tuple[str, int, float]]) -> None:
    deadlines: Deadlines[int] = Deadlines()
    model: dict[int, float] = {}
    for step, key, when in steps:
        if step == "set":
            deadlines.set(key, when)
            model[key] = when
        elif step == "cancel":
            deadlines.cancel(key)
            model.pop(key, None)
        else:
            popped = deadlines.pop(when)
            due = [time for time in model.values() if time <= when]
            assert (popped is None) == (not due)
            if popped is not None:
                assert model.pop(popped) == min(due)
        assert deadlines.next() == min(model.values(), default=None)
        assert len(deadlines) == len(model)


def test_equal_times_come_in_the_order_they_were_set() -> None:
    deadlines: Deadlines[object] = Deadlines()
    marks = [object() for _ in range(20)]
    for mark in marks:
        deadlines.set(mark, 1.0)
    assert [deadlines.pop(1.0) for _ in marks] == marks


def test_cancelled_deadlines_do_not_pile_up() -> None:
    deadlines: Deadlines[int] = Deadlines()
    for number in range(10_000):
        deadlines.set(number, 1e9)
        deadlines.cancel(number)
    assert len(deadlines._heap) < 200


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 50)), max_size=50))
def test_bucket_never_gives_more_than_burst_and_rate(steps: list[tuple[float, float]]) -> None:
    bucket = TokenBucket.full(rate=10.0, burst=20.0)
    now = given_away = 0.0
    for pause, amount in steps:
        now += pause
        wait = bucket.take(amount, now)
        now += wait
        given_away += amount
        assert given_away <= 20.0 + 10.0 * now + 1e-6
        assert wait <= amount / 10.0 + 1e-6
