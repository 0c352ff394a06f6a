"""Who is served next."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from forge_p2p.ids import Hash
from forge_p2p.proto.sent import Sent
from forge_p2p.proto.turns import BATCH_BYTES, BATCH_CHUNKS, Turn, Turns
from forge_p2p.wire.codes import Code

ENDLESS = 1 << 40


def hashes(count: int, first: int = 0) -> list[Hash]:
    return [Hash(number.to_bytes(8, "big") + bytes(24)) for number in range(first, first + count)]


def add(
    turns: Turns[str], peer: str, request_id: int, count: int = 1000, priority: int = 128, deadline: float = 1e9
) -> None:
    """As the wire never would: of any number of chunks and bytes, of which no request names another's."""
    chunks = hashes(count, first=(ord(peer[0]) * 1_000_000 + request_id) * 1_000_000)
    turns.add(peer, request_id, range(count), chunks, priority=priority, deadline=deadline, max_bytes=ENDLESS)


def serve(turns: Turns[str], chunk_size: int | dict[str, int], rounds: int) -> list[Turn[str]]:
    """Takes turns one at a time, whose chunks have this size each."""
    taken = []
    for _ in range(rounds):
        turn = turns.next(0.0)
        if turn is None:
            break
        taken.append(turn)
        size = chunk_size if isinstance(chunk_size, int) else chunk_size[turn.peer]
        turns.served(turn, size * len(turn.indexes))
    return taken


def of(turns: Turns[str], peer: str, request_id: int, chunks: list[Hash], **how: int | bool) -> None:
    turns.add(peer, request_id, range(len(chunks)), chunks, priority=128, deadline=1e9, **how)  # type: ignore[arg-type]


def sent(turns: Turns[str], size: int, now: float = 0.0) -> tuple[list[tuple[str, Hash]], dict[int, Code]]:
    """Serves all there is, chunks of `size` bytes each: what was sent to whom, and how requests were ended."""
    taken: list[tuple[str, Hash]] = []
    ended = {}
    while (turn := turns.next(now)) is not None:
        count = turns.fit(turn, [size] * len(turn.indexes))
        taken += [(turn.peer, chunk) for chunk in turn.hashes[:count]]
        code = turns.served(turn, size * count)
        if code is not None:
            ended[turn.request_id] = code
    return taken, ended


def test_what_was_sent_least_often_goes_first() -> None:
    turns: Turns[str] = Turns()
    chunks = hashes(10)
    of(turns, "a", 1, chunks[4:7])
    sent(turns, 1000)
    of(turns, "b", 2, chunks)
    order = [chunk for _, chunk in sent(turns, 1000)[0]]
    assert order == chunks[:4] + chunks[7:] + chunks[4:7]


def test_those_who_name_the_same_are_given_different_parts() -> None:
    """Eight at once, each with room for an eighth: together they have everything, once."""
    turns: Turns[str] = Turns()
    chunks = hashes(160)
    for number, peer in enumerate("abcdefgh"):
        of(turns, peer, number, chunks, max_bytes=20 * 64_000)
    taken, ended = sent(turns, 64_000)
    assert sorted(chunk for _, chunk in taken) == chunks
    assert {Counter(peer for peer, _ in taken)[peer] for peer in "abcdefgh"} == {20}
    assert set(ended.values()) == {Code.BUDGET}


@given(st.integers(1, 262_144), st.lists(st.integers(1, 262_144), min_size=1, max_size=200))
def test_a_request_gets_what_it_has_room_for_and_is_told_of_the_rest(room: int, sizes: list[int]) -> None:
    turns: Turns[str] = Turns()
    of(turns, "a", 1, hashes(len(sizes)), max_bytes=room)
    got, ended = 0, None
    while (turn := turns.next(0.0)) is not None:
        raw = [sizes[index] for index in turn.indexes]
        count = turns.fit(turn, raw)
        got += sum(raw[:count])
        ended = turns.served(turn, sum(raw[:count])) or ended
    assert got <= room
    assert ended == (Code.BUDGET if got < sum(sizes) else None)
    assert got or sizes[0] > room
    of(turns, "a", 2, hashes(len(sizes)))
    assert turns.next(0.0) is not None, "what had no room counts as not sent"


def test_a_sparing_request_leaves_what_another_was_just_sent() -> None:
    turns: Turns[str] = Turns(sent=Sent(recent=3.0))
    chunks = hashes(10)
    of(turns, "a", 1, chunks[:6])
    sent(turns, 1000, now=0.0)
    of(turns, "b", 2, chunks, sparing=True)
    assert sent(turns, 1000, now=1.0) == ([("b", chunk) for chunk in chunks[6:]], {2: Code.ELSEWHERE})
    of(turns, "b", 3, chunks[:6], sparing=True)
    assert sent(turns, 1000, now=1.5) == ([], {3: Code.ELSEWHERE})
    of(turns, "a", 4, chunks[:6], sparing=True)
    assert len(sent(turns, 1000, now=2.0)[0]) == 6, "it was sent them itself, and has lost them"
    of(turns, "b", 5, chunks[:6])
    assert len(sent(turns, 1000, now=2.5)[0]) == 6, "asked outright"
    of(turns, "c", 6, chunks[:6], sparing=True)
    assert len(sent(turns, 1000, now=6.0)[0]) == 6, "it is a while ago"


def test_what_was_sent_to_who_has_gone_is_sent_again() -> None:
    given: Sent[str] = Sent(recent=3.0)
    turns: Turns[str] = Turns(sent=given)
    chunks = hashes(10)
    of(turns, "a", 1, chunks[:5])
    of(turns, "b", 2, chunks[5:])
    sent(turns, 1000, now=0.0)
    given.gone("a")
    of(turns, "c", 3, chunks, sparing=True)
    assert sent(turns, 1000, now=0.5) == ([("c", chunk) for chunk in chunks[:5]], {3: Code.ELSEWHERE})


def test_while_others_wait_what_was_sent_counts_as_sent_for_longer() -> None:
    turns: Turns[str] = Turns(sent=Sent(recent=3.0, recent_busy=10.0))
    chunks = hashes(10)
    of(turns, "a", 1, chunks)
    sent(turns, 1000, now=0.0)
    of(turns, "b", 2, chunks, sparing=True)
    of(turns, "c", 3, hashes(10, first=100))
    taken, ended = sent(turns, 1000, now=5.0)
    assert {peer for peer, _ in taken} == {"c"}
    assert ended == {2: Code.ELSEWHERE}
    of(turns, "b", 4, chunks, sparing=True)
    assert len(sent(turns, 1000, now=5.0)[0]) == 10


def test_what_still_waits_to_leave_counts_as_sent_for_longer() -> None:
    waiting = {("a", 1)}
    turns: Turns[str] = Turns(sent=Sent(queued=lambda peer, request: (peer, request) in waiting))
    chunks = hashes(10)
    of(turns, "a", 1, chunks)
    sent(turns, 1000, now=0.0)
    for number, now in enumerate((9.0, 30.0, 50.0)):
        of(turns, "b", 10 + number, chunks, sparing=True)
        assert sent(turns, 1000, now=now) == ([], {10 + number: Code.ELSEWHERE})
    waiting.clear()
    of(turns, "b", 20, chunks, sparing=True)
    assert sent(turns, 1000, now=52.9) == ([], {20: Code.ELSEWHERE}), "it has just left"
    of(turns, "b", 21, chunks, sparing=True)
    assert len(sent(turns, 1000, now=53.1)[0]) == 10, "that it arrived is not to be counted on any longer"


def test_a_peer_that_takes_nothing_keeps_nothing_from_others() -> None:
    turns: Turns[str] = Turns(sent=Sent(queued=lambda peer, request: peer == "stuck"))
    chunks = hashes(10)
    of(turns, "stuck", 1, chunks)
    sent(turns, 1000, now=0.0)
    of(turns, "b", 2, chunks, sparing=True)
    assert sent(turns, 1000, now=59.0) == ([], {2: Code.ELSEWHERE})
    of(turns, "b", 3, chunks, sparing=True)
    assert len(sent(turns, 1000, now=62.1)[0]) == 10


def test_the_end_of_a_request_waits_for_all_its_turns() -> None:
    turns: Turns[str] = Turns(quantum=128 * 1024, depth=2)
    chunks = hashes(8)
    of(turns, "a", 1, chunks[6:])
    sent(turns, 64_000)
    of(turns, "b", 2, chunks, sparing=True)
    out = [turns.next(0.0), turns.next(0.0)]
    first, second = [turn for turn in out if turn is not None]
    assert turns.served(second, 1000) is None
    codes = [turns.served(first, 1000)]
    while (turn := turns.next(0.0)) is not None:
        codes.append(turns.served(turn, 1000))
    assert [code for code in codes if code] == [Code.ELSEWHERE]
    assert codes[-1] is Code.ELSEWHERE


def test_what_was_not_found_counts_as_not_sent() -> None:
    turns: Turns[str] = Turns()
    (chunk,) = hashes(1)
    of(turns, "a", 1, [chunk])
    turn = turns.next(0.0)
    assert turn is not None
    assert turns.fit(turn, [None]) == 1
    turns.served(turn, 0)
    of(turns, "b", 2, [chunk], sparing=True)
    assert sent(turns, 1000)[0] == [("b", chunk)]


def test_one_chunk_named_a_thousand_times_costs_no_more_than_others() -> None:
    counting = CountingSent()
    turns: Turns[str] = Turns(sent=counting)
    of(turns, "a", 1, hashes(1) * 1024)
    assert len(sent(turns, 100)[0]) == 1024
    assert counting.looks < 30 * 1024


class CountingSent(Sent[str]):
    looks = 0

    def count(self, chunk: Hash) -> int:
        self.looks += 1
        return super().count(chunk)


def test_counts_are_bounded() -> None:
    table: Sent[str] = Sent(generation=100, recent_busy=3.0)
    for number, chunk in enumerate(hashes(10_000)):
        table.add(chunk, "a", number, number * 0.1)
    assert len(table._counts) + len(table._older) <= 202
    assert len(table._recent) <= 31
    assert table.count(hashes(1, 9_999)[0]) == 1
    assert table.count(hashes(1)[0]) == 0


def test_every_index_once_and_in_order() -> None:
    turns: Turns[str] = Turns()
    turns.add("a", 1, [5, 3, 9], hashes(3), priority=0, deadline=9)
    add(turns, "a", 2, count=500)
    taken = serve(turns, 1000, 100)
    assert [index for turn in taken if turn.request_id == 1 for index in turn.indexes] == [5, 3, 9]
    assert [index for turn in taken if turn.request_id == 2 for index in turn.indexes] == list(range(500))
    assert all(len(turn.indexes) == len(turn.hashes) for turn in taken)
    assert len(turns) == 0
    assert turns.next(0.0) is None


def test_bytes_are_shared_evenly_whatever_peers_ask_for() -> None:
    """One peer has a hundred requests, one has large chunks, one small ones: each gets a third."""
    turns: Turns[str] = Turns()
    for number in range(100):
        add(turns, "many", number)
    add(turns, "large", 1, count=100_000)
    add(turns, "small", 1, count=100_000)
    sizes = {"many": 64_000, "large": 262_144, "small": 5_000}
    got: Counter[str] = Counter()
    for turn in serve(turns, sizes, 3000):
        got[turn.peer] += len(turn.indexes) * sizes[turn.peer]
    total = got.total()
    assert all(abs(got[peer] / total - 1 / 3) < 0.04 for peer in sizes), got


def test_missing_chunks_are_not_free() -> None:
    turns: Turns[str] = Turns()
    add(turns, "asks for nothing there", 1, count=100_000)
    add(turns, "honest", 1, count=10_000)
    got: Counter[str] = Counter()
    for turn in serve(turns, {"asks for nothing there": 0, "honest": 64_000}, 1000):
        got[turn.peer] += 1
    assert got["honest"] > 100


def test_newcomers_are_served_within_a_round() -> None:
    turns: Turns[str] = Turns()
    for number in range(10):
        add(turns, f"old {number}", 1, count=10_000)
    serve(turns, 64_000, 200)
    add(turns, "new", 1)
    assert "new" in {turn.peer for turn in serve(turns, 64_000, 25)}


def test_idle_time_saves_up_no_credit() -> None:
    turns: Turns[str] = Turns()
    add(turns, "busy", 1, count=1_000_000)
    for number in range(100):
        add(turns, "now and then", number, count=1)
        serve(turns, 100, 10)
    add(turns, "now and then", 1000, count=100_000)
    peers = [turn.peer for turn in serve(turns, 64_000, 40)]
    assert 12 < peers.count("busy") < 28


def test_urgent_requests_of_a_peer_overtake_its_others() -> None:
    turns: Turns[str] = Turns()
    add(turns, "a", 1, count=50, priority=200)
    first = serve(turns, 64_000, 2)
    add(turns, "a", 2, count=10, priority=0)
    add(turns, "a", 3, count=10, priority=0)
    rest = serve(turns, 64_000, 100)
    order = [turn.request_id for turn in first + rest]
    assert [turn.request_id for turn in first] == [1, 1]
    urgent = [turn.request_id for turn in rest[: order.count(2) + order.count(3)]]
    assert urgent == sorted(urgent), "those two first, in their order"
    assert set(urgent) == {2, 3}


def test_batches_follow_the_size_of_what_was_found() -> None:
    turns: Turns[str] = Turns()
    add(turns, "a", 1, count=100_000)
    assert len(serve(turns, 262_144, 1)[0].indexes) == 8, "unknown chunks are taken for average ones"
    assert [len(turn.indexes) for turn in serve(turns, 262_144, 10)][-1] == 2
    assert [len(turn.indexes) for turn in serve(turns, 1000, 20)][-1] == BATCH_CHUNKS
    sizes = [len(turn.indexes) * 50_000 for turn in serve(turns, 50_000, 20)]
    assert sizes[-1] <= BATCH_BYTES


def test_a_slow_peer_holds_up_nobody_else() -> None:
    turns: Turns[str] = Turns(depth=2)
    add(turns, "slow", 1)
    add(turns, "fast", 1)
    out = [turns.next(0.0) for _ in range(4)]
    assert Counter(turn.peer for turn in out if turn) == {"slow": 2, "fast": 2}
    assert turns.next(0.0) is None, "two turns a peer are out at most"
    for turn in out:
        if turn and turn.peer == "fast":
            turns.served(turn, 1000)
    later = turns.next(0.0)
    assert later is not None
    assert later.peer == "fast"


def test_expired_and_cancelled_requests_get_no_turn() -> None:
    turns: Turns[str] = Turns()
    add(turns, "a", 1, deadline=5.0)
    add(turns, "a", 2, deadline=50.0)
    add(turns, "a", 3)
    turns.cancel("a", 3)
    turns.cancel("a", 4)
    turns.cancel("b", 1)
    turn = turns.next(5.0)
    assert turn is not None
    assert turn.request_id == 2
    turns.cancel("a", 2)
    assert turns.next(5.0) is None
    turns.served(turn, 0)
    assert len(turns) == 0


def test_cancelled_requests_do_not_pile_up() -> None:
    turns: Turns[str] = Turns()
    for number in range(10_000):
        add(turns, "a", number, count=1)
        turns.cancel("a", number)
    assert len(turns._lines["a"].order) < 200


def test_a_peer_that_went_is_forgotten() -> None:
    turns: Turns[str] = Turns()
    add(turns, "a", 1)
    turn = turns.next(0.0)
    assert turn is not None
    turns.remove_peer("a")
    turns.remove_peer("a")
    assert turns.next(0.0) is None
    add(turns, "a", 2)
    turns.served(turn, 10**9)
    assert {turn.request_id for turn in serve(turns, 64_000, 3)} == {2}, "its old debts are gone with it"


@given(st.integers(0, 2**32))
def test_same_calls_same_turns(seed: int) -> None:
    def trace() -> list[tuple[str, int, int]]:
        rng, turns = random.Random(seed), Turns[str]()
        for number in range(30):
            add(turns, rng.choice("abc"), number, rng.randrange(1, 300), rng.randrange(3))
        return [
            (turn.peer, turn.request_id, len(turn.indexes)) for turn in serve(turns, rng.randrange(1, 262_144), 10**6)
        ]

    assert trace() == trace()


class TurnsMachine(RuleBasedStateMachine):
    """Against a model that remembers every index that is still to be handed out."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: Turns[str] = Turns()
        self.left: dict[tuple[str, int], list[int]] = {}
        self.out: list[Turn[str]] = []
        self.number = 0

    @rule(peer=st.sampled_from("abc"), count=st.integers(1, 400), priority=st.integers(0, 2))
    def add(self, peer: str, count: int, priority: int) -> None:
        self.number += 1
        add(self.turns, peer, self.number, count, priority)
        self.left[peer, self.number] = list(range(count))

    @rule(data=st.data())
    @precondition(lambda self: self.left)
    def cancel(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.left)))
        del self.left[key]
        self.turns.cancel(*key)

    @rule()
    def next(self) -> None:
        turn = self.turns.next(0.0)
        away = Counter(turn.peer for turn in self.out)
        if turn is None:
            assert all(away[peer] == 2 for peer, _ in self.left), "nobody who may have a turn goes without"
            return
        self.out.append(turn)
        left = self.left[turn.peer, turn.request_id]
        assert list(turn.indexes) == left[: len(turn.indexes)]
        del left[: len(turn.indexes)]
        if not left:
            del self.left[turn.peer, turn.request_id]

    @rule(data=st.data(), size=st.integers(0, 262_144))
    @precondition(lambda self: self.out)
    def served(self, data: st.DataObject, size: int) -> None:
        turn = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        self.turns.served(turn, size * len(turn.indexes))

    @rule(peer=st.sampled_from("abc"))
    def remove_peer(self, peer: str) -> None:
        self.turns.remove_peer(peer)
        self.left = {key: left for key, left in self.left.items() if key[0] != peer}
        self.out = [turn for turn in self.out if turn.peer != peer]

    @invariant()
    def counts_agree(self) -> None:
        assert len(self.turns) == len(self.left)


TestTurnsMachine = TurnsMachine.TestCase
