"""One timer for many deadlines."""

import random
from itertools import pairwise

import trio
import trio.testing

from forge_p2p.net.timers import Deadlines


async def test_everything_fires_once_in_order_and_in_time(autojump_clock: trio.testing.MockClock) -> None:
    fired: list[tuple[float, float]] = []
    timers: Deadlines[float] = Deadlines(lambda due, now: fired.append((due, now)))
    start = trio.current_time()
    rng = random.Random(1)
    times = [start + rng.uniform(0, 3600) for _ in range(500)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run)
        for when in times[:250]:
            timers.set(when, when)
        await trio.sleep(1000)
        later = [when for when in times[250:] if when > trio.current_time()]
        for when in later:
            timers.set(when, when)
        await trio.sleep(4000)
        nursery.cancel_scope.cancel()
    assert [due for due, _ in fired] == sorted(times[:250] + later)
    assert all(due <= now <= due + 0.001 for due, now in fired)


async def test_an_earlier_deadline_wakes_the_sleeper(autojump_clock: trio.testing.MockClock) -> None:
    fired: list[str] = []
    timers: Deadlines[str] = Deadlines(lambda name, _: fired.append(name))
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run)
        timers.set("late", start + 100)
        await trio.sleep(1)
        timers.set("past", start - 5)
        await trio.sleep(1)
        assert fired == ["past"]
        timers.set("soon", start + 10)
        await trio.sleep(50)
        assert fired == ["past", "soon"]
        nursery.cancel_scope.cancel()


async def test_one_owner_has_few_entries_however_often_its_deadline_moves(
    autojump_clock: trio.testing.MockClock,
) -> None:
    fired = 0

    def fire(owner: str, now: float) -> None:
        nonlocal fired
        fired += 1
        timers.set(owner, now + 30)

    timers: Deadlines[str] = Deadlines(fire)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run)
        for _ in range(1000):
            timers.set("owner", trio.current_time() + 30)
            timers.set("owner", trio.current_time() + 0.025)
            await trio.sleep(0.05)
        assert len(timers._heap) <= 3
        assert 1000 <= fired <= 1010
        timers.forget("owner")
        fired = 0
        await trio.sleep(100)
        assert (fired, timers._heap) == (0, [])
        nursery.cancel_scope.cancel()


async def test_what_fires_may_set_the_next(autojump_clock: trio.testing.MockClock) -> None:
    times: list[float] = []

    def again(_: str, now: float) -> None:
        times.append(now)
        if len(times) < 5:
            timers.set("again", now + 7)

    timers: Deadlines[str] = Deadlines(again)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run)
        timers.set("again", trio.current_time() + 7)
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    assert [round(later - earlier) for earlier, later in pairwise(times)] == [7] * 4
