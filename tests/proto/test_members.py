"""What members of a network ask and tell each other beside chunks, and that nobody else hears any of it."""

import pytest

from forge_p2p.content.contact import Contact
from forge_p2p.proto.hello import SessionConfig
from forge_p2p.proto.news import NEWS_BURST, NEWS_RATE
from forge_p2p.proto.outputs import (
    FollowReceived,
    NewsReceived,
    QueryReceived,
    ReplyReceived,
    RequestCancelled,
    RequestDone,
    RequestFailed,
    ToldOf,
)
from forge_p2p.proto.questions import QUERY_BURST, QUERY_RATE
from forge_p2p.proto.states import SessionState
from forge_p2p.proto.telling import TELL_BURST
from forge_p2p.wire import limits
from forge_p2p.wire.codes import Code
from forge_p2p.wire.messages import (
    FindNode,
    Follow,
    Followers,
    Holdings,
    Nodes,
    Query,
    Reply,
)
from tests.proto.conversations import CONVERSATIONS, FOLLOW, KEY, ROOT, SOMEBODY
from tests.proto.pair import NETWORKED, SEEDS, End, assert_answered, assert_only_fitting_replies, make_chunk, members


def told(end: End, request: int) -> tuple[bytes, list[Contact], bool, bool]:
    """What `ToldOf` add up to: prefixes, contacts, and the flags of the last."""
    prefixes, flags = b"", (False, False)
    contacts: list[Contact] = []
    for event in end.of(ToldOf):
        assert event.request_id == request
        if isinstance(event.message, Holdings):
            prefixes += event.message.prefixes
            flags = (event.message.complete, event.message.origin)
        else:
            contacts += event.message.contacts
    return prefixes, contacts, *flags


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("query", "reply"), CONVERSATIONS, ids=lambda value: type(value).__name__)
def test_query_and_reply(seed: int | None, query: Query, reply: Reply) -> None:
    assert_answered(members(seed), query, reply)


def test_reply_must_fit_its_query() -> None:
    assert_only_fitting_replies(CONVERSATIONS)


@pytest.mark.parametrize("code", [Code.BUSY, Code.INTERNAL])
@pytest.mark.parametrize("query", [query for query, _ in CONVERSATIONS], ids=lambda query: type(query).__name__)
def test_query_may_be_turned_down(query: Query, code: Code) -> None:
    pair = members()
    request = pair.client.query(query)
    pair.run()
    pair.server.session.finish(request, code, "not now", 0.0)
    pair.run()
    assert pair.client.events == [RequestFailed(request, code, "not now", True)]


def test_query_ends_with_its_deadline() -> None:
    pair = members()
    request = pair.client.query(FindNode(KEY), deadline=3.0)
    pair.run().advance(4.0)
    assert pair.client.events == [RequestFailed(request, Code.DEADLINE, "the deadline passed", True)]
    assert pair.server.events == [QueryReceived(request, FindNode(KEY)), RequestCancelled(request)]


def test_too_many_queries_are_busy_work() -> None:
    pair = members()
    for _ in range(100):
        pair.client.query(FindNode(KEY))
    while pair.step():
        for event in pair.server.of(QueryReceived):
            pair.server.session.reply(event.request_id, Nodes.of([]), 0.0)
    assert len(pair.client.of(ReplyReceived)) == QUERY_BURST
    assert {event.code for event in pair.client.of(RequestFailed)} == {Code.BUSY}
    pair.advance(1.0)
    for _ in range(100):
        pair.client.query(FindNode(KEY), pair.now)
    pair.run()
    assert len(pair.server.of(QueryReceived)) == QUERY_BURST + QUERY_RATE


@pytest.mark.parametrize("seed", SEEDS)
def test_follower_is_told_until_it_has_enough(seed: int | None) -> None:
    pair = members(seed)
    request = pair.client.follow(FOLLOW)
    pair.run()
    assert pair.server.events == [FollowReceived(request, FOLLOW)]
    server = pair.server.session
    server.tell(request, Holdings(False, True, ROOT), 0.0)
    server.tell(request, Followers.of([SOMEBODY]), 0.0)
    server.tell(request, Holdings(False, False, ROOT[:8]), 0.0)
    pair.run()
    assert told(pair.client, request) == (ROOT + ROOT[:8], [SOMEBODY], False, False)
    pair.advance(10_000.0)
    assert server.state is SessionState.READY, "a follow lasts for as long as both like"
    server.tell(request, Holdings(True, False, b""), pair.now)
    pair.run()
    assert told(pair.client, request)[2:] == (True, False)
    pair.client.events.clear()
    pair.client.session.cancel(request, pair.now)
    pair.run()
    assert pair.server.events[1:] == [RequestCancelled(request)]
    server.tell(request, Holdings(True, False, b""), pair.now)
    pair.run()
    assert not pair.client.events
    assert pair.advance(100.0).client.session.next_deadline() is server.next_deadline() is None


@pytest.mark.parametrize(
    ("code", "event"),
    [
        (Code.OK, RequestDone(4)),
        (Code.LEAVING, RequestFailed(4, Code.LEAVING, "why", True)),
        (Code.DENIED, RequestFailed(4, Code.DENIED, "why", False)),
    ],
)
@pytest.mark.parametrize("seed", SEEDS)
def test_who_is_followed_may_end_it(seed: int | None, code: Code, event: object) -> None:
    pair = members(seed)
    request = pair.client.follow(FOLLOW)
    pair.run()
    pair.server.session.tell(request, Holdings(True, False, b""), 0.0)
    pair.server.session.finish(request, code, "why", 0.0)
    pair.run()
    assert pair.client.events == [ToldOf(request, Holdings(True, False, b"")), event]
    assert pair.client.session.next_deadline() is pair.server.session.next_deadline() is None


def test_a_follow_ends_with_its_session() -> None:
    pair = members()
    request = pair.client.follow(FOLLOW)
    pair.run()
    pair.server.session.close(Code.LEAVING, "bye", 0.0)
    pair.server.session.tell(request, Holdings(True, False, b""), 0.0)
    pair.run()
    assert pair.client.of(RequestFailed) == [RequestFailed(request, Code.LEAVING, "bye", True)]
    pair.client.follow(FOLLOW)
    pair.client.drain(0.0)
    assert pair.client.of(RequestFailed)[1].code is Code.GONE


def test_a_follow_takes_no_request_s_place_and_stalls_nothing() -> None:
    pair = members(config=SessionConfig(capabilities=NETWORKED.capabilities, max_requests=2))
    for _ in range(limits.FOLLOWS_MAX):
        pair.client.follow(FOLLOW)
    pair.run().advance(100.0)
    wants = [pair.client.want([make_chunk(1, number).hash], pair.now) for number in range(4)]
    pair.run()
    assert len(pair.client.of(RequestDone)) == len(wants)
    pair.server.batch = 0
    stalled = pair.client.want([make_chunk(1).hash], pair.now)
    follow = pair.server.of(FollowReceived)[0].request_id
    for _ in range(19):
        pair.advance(1.0)
        pair.server.session.tell(follow, Holdings(False, False, ROOT), pair.now)
    pair.advance(1.0)
    assert [(event.request_id, event.code) for event in pair.client.of(RequestFailed)] == [(stalled, Code.STALLED)], (
        "what followers are told is no progress of anything else"
    )


def test_no_more_is_followed_at_once_than_agreed() -> None:
    pair = members()
    for _ in range(limits.FOLLOWS_MAX):
        pair.client.follow(FOLLOW)
    above = pair.client.follow(FOLLOW)
    pair.run()
    assert [(event.request_id, event.code) for event in pair.client.of(RequestFailed)] == [(above, Code.BUSY)]
    assert len(pair.server.of(FollowReceived)) == limits.FOLLOWS_MAX
    pair.client.session.cancel(4, 0.0)
    again = pair.client.follow(FOLLOW)
    pair.run()
    assert pair.server.of(FollowReceived)[-1].request_id == again


def test_what_is_told_too_fast_is_gathered() -> None:
    """A million chunks told one by one, to two followers, arrive in few frames and are no breach."""
    pair = members()
    requests = [pair.client.follow(FOLLOW), pair.client.follow(Follow.of(bytes(32), (), False))]
    pair.run()
    for number in range(30_000):
        for request in requests:
            prefix = (number * 2 + (request == 4)).to_bytes(8)
            pair.server.session.tell(request, Holdings(False, False, prefix), 0.0)
    pair.run()
    early = len(pair.client.of(ToldOf))
    assert TELL_BURST / 600 < early < TELL_BURST / 500
    pair.advance(10.0)
    assert len(pair.client.of(ToldOf)) - early < 10
    for request in requests:
        prefixes = b"".join(
            event.message.prefixes
            for event in pair.client.of(ToldOf)
            if event.request_id == request and isinstance(event.message, Holdings)
        )
        assert prefixes == b"".join((number * 2 + (request == 4)).to_bytes(8) for number in range(30_000))
    assert pair.client.session.state is SessionState.READY


def test_many_prefixes_are_cut_into_frames() -> None:
    pair = members()
    request = pair.client.follow(FOLLOW)
    pair.run()
    prefixes = bytes(8 * (2 * limits.PREFIXES_MAX + 1))
    pair.server.session.tell(request, Holdings(False, True, prefixes), 0.0)
    pair.server.session.tell(request, Followers.of([SOMEBODY]), 0.0)
    pair.run()
    assert told(pair.client, request) == (prefixes, [SOMEBODY], False, True)
    assert [type(event.message) for event in pair.client.of(ToldOf)] == [Holdings] * 3 + [Followers]


@pytest.mark.parametrize("seed", SEEDS)
def test_news(seed: int | None) -> None:
    pair = members(seed)
    pair.client.session.say_news([b"one", b"two"], 0.0)
    pair.server.session.say_news([b"three"], 0.0)
    pair.run()
    assert pair.server.events == [NewsReceived((b"one", b"two"))]
    assert pair.client.events == [NewsReceived((b"three",))]
    with pytest.raises(ValueError, match="4096"):
        pair.client.session.say_news([bytes(4097)], 0.0)


@pytest.mark.parametrize("size", [1, 1000, 4096])
def test_much_news_is_said_bit_by_bit(size: int) -> None:
    pair = members()
    items = [number.to_bytes(size) if size > 1 else bytes([number % 256]) for number in range(5000)]
    pair.client.session.say_news(items[:4000], 0.0)
    for item in items[4000:]:
        pair.client.session.say_news([item], 0.0)
    pair.run()
    at_once = len(pair.server.of(NewsReceived))
    assert at_once == NEWS_BURST + 1
    pair.advance(10.0)
    assert len(pair.server.of(NewsReceived)) <= at_once + 10 * NEWS_RATE
    pair.advance(2000.0)
    assert [item for event in pair.server.of(NewsReceived) for item in event.items] == items
    assert pair.server.session.state is SessionState.READY
