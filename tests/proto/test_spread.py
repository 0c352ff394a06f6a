"""What is learned of how things spread from what those who got them tell."""

from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.ids import Hash, prefix_of
from forge_p2p.proto.sent import Sent
from forge_p2p.proto.spread import SPREADING, TELLERS, Spread

PEERS = st.sampled_from("abcdefghijklmnop")
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("told"), PEERS, st.lists(st.integers(0, 30), max_size=8)),
        st.tuples(st.just("gone"), PEERS, st.just([])),
    )
)


def chunk(number: int) -> Hash:
    return Hash(number.to_bytes(8, "big") + bytes(24))


def once(prefix: int) -> int:
    return 1


@given(EVENTS, st.integers(1, 20))
def test_only_those_present_who_told_are_tellers(events: list[tuple[str, str, list[int]]], most: int) -> None:
    spread: Spread[str] = Spread(most, once)
    told: dict[int, set[str]] = {}
    for now, (what, peer, prefixes) in enumerate(events):
        if what == "told":
            spread.told(peer, prefixes, float(now))
            for prefix in prefixes:
                told.setdefault(prefix, set()).add(peer)
        else:
            spread.gone(peer)
            for those in told.values():
                those.discard(peer)
        assert len(spread) <= most
    for prefix in range(31):
        tellers = spread.tellers(prefix)
        assert len(tellers) == len(set(tellers)) <= TELLERS
        assert set(tellers) <= told.get(prefix, set())


@given(st.lists(st.tuples(PEERS, st.integers(0, 30))))
def test_what_was_sent_to_nobody_is_not_remembered(told: list[tuple[str, int]]) -> None:
    spread: Spread[str] = Spread(100, lambda prefix: prefix % 2)
    for peer, prefix in told:
        spread.told(peer, [prefix], 0.0)
    assert all(not spread.tellers(prefix) for prefix in range(0, 31, 2))
    assert len(spread) == len({prefix for _, prefix in told if prefix % 2})


@given(st.lists(st.floats(0.01, 100.0), min_size=1))
def test_patience_stays_within_what_was_seen(hops: list[float]) -> None:
    spread: Spread[str] = Spread(1000, once)
    assert spread.patience == 0.0
    for number, hop in enumerate(hops):
        spread.told("a", [number], 0.0)
        spread.told("b", [number], hop)
    assert min(hops) / 1.2 <= spread.patience / 4 <= max(hops) * 1.2


def test_few_who_are_slow_change_little() -> None:
    spread: Spread[str] = Spread(10_000, once)
    for number in range(1000):
        spread.told("a", [number], 0.0)
        spread.told("b", [number], 60.0 if number % 4 == 0 else 0.5)
    assert spread.patience < 4


def test_nothing_is_learned_of_what_was_sent_twice() -> None:
    spread: Spread[str] = Spread(100, lambda prefix: 2)
    spread.told("a", [1], 0.0)
    spread.told("b", [1], 5.0)
    assert spread.patience == 0.0


def test_what_two_have_told_of_is_left_to_them_for_as_long_as_it_spreads() -> None:
    sent: Sent[str] = Sent(recent=3.0)
    sent.add(chunk(1), "a", 1, 0.0)
    sent.spread.told("a", [prefix_of(chunk(1))], 1.0)
    sent.spread.told("b", [prefix_of(chunk(1))], 1.5)
    assert sent.elsewhere(chunk(1), "c", 5.4, busy=False), "twice four times that half a second"
    assert not sent.elsewhere(chunk(1), "c", 5.6, busy=False)


@given(st.floats(0.01, 1000.0))
def test_however_slowly_things_spread_they_are_sent_again(hop: float) -> None:
    sent: Sent[str] = Sent(recent=3.0)
    sent.add(chunk(1), "a", 1, 0.0)
    sent.spread.told("a", [prefix_of(chunk(1))], 1.0)
    sent.spread.told("b", [prefix_of(chunk(1))], 1.0 + hop)
    assert sent.elsewhere(chunk(1), "c", hop + 3.9, busy=False)
    assert not sent.elsewhere(chunk(1), "c", hop + 1.1 + SPREADING, busy=False)


def test_what_one_alone_has_told_of_is_left_to_it_for_a_while() -> None:
    sent: Sent[str] = Sent(recent=3.0)
    sent.add(chunk(1), "liar", 1, 0.0)
    sent.spread.told("liar", [prefix_of(chunk(1))], 1.0)
    assert sent.elsewhere(chunk(1), "b", 3.9, busy=False)
    assert not sent.elsewhere(chunk(1), "b", 4.1, busy=False)
    for now in (2.0, 3.0, 4.0):
        sent.spread.told("liar", [prefix_of(chunk(1))], now)
    assert not sent.elsewhere(chunk(1), "b", 4.1, busy=False), "to say it again changes nothing"


def test_who_has_told_of_it_since_it_asked_is_not_sent_it() -> None:
    sent: Sent[str] = Sent(recent=1.0)
    sent.add(chunk(1), "a", 1, 0.0)
    sent.spread.told("b", [prefix_of(chunk(1))], 5.0)
    assert sent.elsewhere(chunk(1), "b", 5.5, busy=False)


def test_what_those_had_who_have_gone_is_sent_again() -> None:
    sent: Sent[str] = Sent(recent=3.0)
    sent.add(chunk(1), "a", 1, 0.0)
    for peer in ("a", "b"):
        sent.spread.told(peer, [prefix_of(chunk(1))], 1.0)
    for peer in ("a", "b"):
        assert sent.elsewhere(chunk(1), "c", 3.5, busy=False)
        sent.spread.gone(peer)
    assert not sent.elsewhere(chunk(1), "c", 3.5, busy=False)


def test_no_number_of_peers_keeps_a_chunk_from_others_for_good() -> None:
    sent: Sent[str] = Sent(recent=3.0)
    sent.add(chunk(1), "a", 1, 0.0)
    now = 0.0
    for number in range(1000):
        sent.spread.told(f"colluder {number}", [prefix_of(chunk(1))], now := number * SPREADING / 2)
    assert not sent.elsewhere(chunk(1), "c", now, busy=False)
