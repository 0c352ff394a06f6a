"""Waiting for conditions: whoever's is true is woken, nobody else, and nobody is forgotten."""

import trio
import trio.testing

from forge_p2p.node.until import Until


async def test_only_whose_condition_holds_is_woken(autojump_clock: trio.testing.MockClock) -> None:
    until, level = Until(), 0
    passed: list[int] = []
    looked = {1: 0, 2: 0}

    def reached(goal: int) -> bool:
        looked[goal] += 1
        return level >= goal

    async def wait(goal: int) -> None:
        await until.true(lambda: reached(goal))
        passed.append(goal)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, 1)
        nursery.start_soon(wait, 2)
        await trio.testing.wait_all_tasks_blocked()
        level = 1
        assert passed == [], "nothing happens before it is said"
        until.changed()
        await trio.testing.wait_all_tasks_blocked()
        assert passed == [1]
        assert looked[2] == 2, "asked on arrival and at the change, not woken to look again"
        level = 2
        until.changed()
    assert passed == [1, 2]


async def test_what_another_has_taken_is_waited_for_again(autojump_clock: trio.testing.MockClock) -> None:
    until = Until()
    left: list[int] = []
    taken: list[str] = []

    async def take(name: str) -> None:
        while len(taken) < 6:
            await until.true(lambda: bool(left) or len(taken) >= 6)
            if left:
                left.pop()
                taken.append(name)
                until.changed()

    async with trio.open_nursery() as nursery:
        for name in "ab":
            nursery.start_soon(take, name)
        for count in (1, 2, 3):
            await trio.testing.wait_all_tasks_blocked()
            left.extend(range(count))
            until.changed()
    assert len(taken) == 6
    assert left == []


async def test_who_was_cancelled_waits_no_more(autojump_clock: trio.testing.MockClock) -> None:
    until, asked = Until(), 0

    def never() -> bool:
        nonlocal asked
        asked += 1
        return False

    with trio.move_on_after(1):
        await until.true(never)
    asked = 0
    until.changed()
    assert asked == 0
