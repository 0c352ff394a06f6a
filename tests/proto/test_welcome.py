"""Who is a member is found out first; who is none asks nothing, is told nothing and is answered nothing."""

from collections.abc import Callable

import pytest

from forge_p2p.ids import Hash
from forge_p2p.proto.auth import EVERYTHING, NOTHING
from forge_p2p.proto.outputs import (
    AuthorizationNeeded,
    FollowReceived,
    NewsReceived,
    QueryReceived,
    Ready,
    RequestFailed,
    RequestReceived,
    SendData,
)
from forge_p2p.wire.codes import Code
from forge_p2p.wire.messages import FindNode
from tests.proto.conversations import CONVERSATIONS, FOLLOW, KEY, ROOT
from tests.proto.pair import MEMBER, NETWORKED, SEEDS, Door, Pair, client_session, make_chunk, members, server_session


def ticket_holder() -> Pair:
    pair = Pair(client_session(config=NETWORKED), server_session(config=NETWORKED))
    return pair.start().run()


def old_client() -> Pair:
    pair = Pair(client_session(scope=MEMBER), server_session(Door(MEMBER), config=NETWORKED))
    return pair.start().run()


def unverified_server() -> Pair:
    pair = Pair(client_session(scope=NOTHING, config=NETWORKED), server_session(Door(MEMBER), config=NETWORKED))
    return pair.start().run()


@pytest.mark.parametrize("strange", [ticket_holder, old_client, unverified_server])
def test_nothing_is_asked_of_or_told_to_who_is_no_member(strange: Callable[[], Pair]) -> None:
    pair = strange()
    pair.client.events.clear()
    before = pair.client.sent
    requests = [pair.client.query(query) for query, _ in CONVERSATIONS] + [pair.client.follow(FOLLOW)]
    pair.client.session.say_news([b"secret"], 0.0)
    pair.run()
    assert [(event.request_id, event.code) for event in pair.client.of(RequestFailed)] == [
        (request, Code.DENIED) for request in requests
    ]
    assert pair.client.sent == before


@pytest.mark.parametrize("strange", [ticket_holder, old_client])
def test_who_is_no_member_is_answered_nothing(strange: Callable[[], Pair]) -> None:
    pair = strange()
    pair.server.events.clear()
    pair.client.events.clear()
    pair.client.session.grant(MEMBER, 0.0)
    pair.client.session._answering._networked = True
    requests = [pair.client.query(query) for query, _ in CONVERSATIONS] + [pair.client.follow(FOLLOW)]
    pair.client.session._gossip.decide(member=True)
    pair.client.session.say_news([b"false"], 0.0)
    pair.run()
    assert [(event.request_id, event.code) for event in pair.client.of(RequestFailed)] == [
        (request, Code.DENIED) for request in requests
    ]
    assert not pair.server.events


@pytest.mark.parametrize("seed", SEEDS)
def test_client_looks_at_the_server_first(seed: int | None) -> None:
    """What the server asks and says right behind its WELCOME waits until the client knows whom it is talking to."""
    door = Door(verdict=None)
    client, server = client_session(scope=None, config=NETWORKED), server_session(door, config=NETWORKED)
    pair = Pair(client, server, seed).start().run()
    assert pair.server.of(AuthorizationNeeded)
    server.decide(MEMBER, 0.0, b"sealed")
    query, follow = pair.server.query(FindNode(KEY)), pair.server.follow(FOLLOW)
    want = pair.server.want([make_chunk(1).hash])
    server.say_news([b"one"], 0.0)
    server.say_news([b"two"], 0.0)
    pair.client.batch = 0
    pair.run()
    (ready,) = pair.client.events
    assert isinstance(ready, Ready)
    assert ready.credentials == b"sealed"
    client.grant(MEMBER, 0.0)
    pair.run()
    events = pair.client.events[1:]
    assert {QueryReceived(query, FindNode(KEY)), FollowReceived(follow, FOLLOW)} <= {
        event for event in events if isinstance(event, QueryReceived | FollowReceived)
    }
    assert [event.request_id for event in pair.client.of(RequestReceived)] == [want]
    assert [event.items for event in pair.client.of(NewsReceived)] == [(b"one",), (b"two",)]


def test_much_may_follow_the_welcome_at_once() -> None:
    """More than a hello may have, all of it in one piece with the WELCOME."""
    pair = Pair(client_session(scope=None, config=NETWORKED), server_session(Door(verdict=None), config=NETWORKED))
    pair.start().run()
    pair.server.session.decide(MEMBER, 0.0)
    for second in range(5):
        pair.server.session.say_news([bytes(2048)] * 4, float(second))
    said = b"".join(b"".join(output.buffers) for output in pair.server.session.take() if isinstance(output, SendData))
    assert len(said) > 16_384
    pair.client.session.receive_stream(0, said, False, 0.0)
    pair.client.session.grant(MEMBER, 0.0)
    pair.run()
    assert sum(len(event.items) for event in pair.client.of(NewsReceived)) == 20


def test_server_that_is_no_member_after_all_is_not_heard() -> None:
    pair = Pair(client_session(scope=None, config=NETWORKED), server_session(Door(MEMBER), config=NETWORKED))
    pair.start().run()
    query = pair.server.query(FindNode(KEY))
    pair.server.session.say_news([b"false"], 0.0)
    pair.run()
    pair.client.session.grant(EVERYTHING, 0.0)
    pair.run()
    assert [(event.request_id, event.code) for event in pair.server.of(RequestFailed)] == [(query, Code.DENIED)]
    assert [type(event) for event in pair.client.events] == [Ready]


def test_grant_replaces_what_the_peer_may_have() -> None:
    pair = members()
    hashes = pair.client.store(make_chunk(5))
    pair.client.session.grant(NOTHING, 0.0)
    pair.server.want(hashes)
    pair.server.query(FindNode(KEY))
    pair.run()
    assert not pair.client.events
    pair.client.session.grant(MEMBER, 0.0)
    pair.server.want(hashes)
    pair.run()
    assert [type(event) for event in pair.client.events] == [RequestReceived]


def test_sparing_is_told_to_the_server() -> None:
    pair = members()
    pair.server.batch = 0
    for stream_id, sparing in ((4, True), (8, False)):
        pair.client.session.want(stream_id, [Hash(ROOT)], max_bytes=9, deadline=9, now=0, sparing=sparing)
    pair.run()
    assert [event.sparing for event in pair.server.of(RequestReceived)] == [True, False]
    pair.server.session.finish(4, Code.ELSEWHERE, "", 0.0)
    pair.run()
    assert pair.client.events == [RequestFailed(4, Code.ELSEWHERE, "elsewhere", True)]


def test_welcome_carries_what_the_server_shows() -> None:
    pair = Pair(client_session(), server_session(Door(verdict=None))).start().run()
    pair.server.session.decide(EVERYTHING, 0.0, bytes(4096))
    pair.run()
    assert [event.credentials for event in pair.client.of(Ready)] == [bytes(4096)]
    assert [event.credentials for event in pair.server.of(Ready)] == [b""]
