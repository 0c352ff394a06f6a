"""What a member may do wrong: each ends its session with a reason, and costs little."""

import tracemalloc

import pytest

from forge_p2p.content.contact import Contact
from forge_p2p.ids import NodeId
from forge_p2p.proto.news import HEARD_BURST
from forge_p2p.proto.outputs import FollowReceived, RequestFailed, SendData, ToldOf
from forge_p2p.proto.states import SessionState
from forge_p2p.proto.telling import FRAME_COST, TELL_BURST, TELL_RATE
from forge_p2p.wire import limits
from forge_p2p.wire.codes import Code
from forge_p2p.wire.fields import Body
from forge_p2p.wire.frames import encode_frame
from forge_p2p.wire.messages import (
    Announce,
    Done,
    FindNode,
    FindProviders,
    Follow,
    Followers,
    Holdings,
    Missing,
    News,
    Nodes,
    Providers,
    Query,
)
from forge_p2p.wire.varint import encode_varint
from tests.proto.pair import NETWORKED, Door, Only, Pair, client_session, members, server_session
from tests.proto.test_bad_peers import Bad, check_breach, frame, want

KEY = bytes(20)
FOLLOW = Follow.of(bytes(32), (), False)
SOMEBODY = Contact(NodeId(bytes(32)), (("192.0.2.1", 1),))
NODES = encode_frame(Nodes.of([SOMEBODY]))
PROVIDERS = encode_frame(Providers.of([], [SOMEBODY]))
HOLDINGS = encode_frame(Holdings(False, False, bytes(8)))
FOLLOWERS = encode_frame(Followers.of([SOMEBODY]))
DONE = encode_frame(Done(Code.OK, ""))
MISSING = encode_frame(Missing((0,)))
FIND = encode_frame(FindNode(KEY))

BAD_REPLIES: list[tuple[Query, Bad]] = [
    (FindNode(KEY), Bad("providers for nodes", PROVIDERS, Code.OUT_OF_STATE, "request that is NODES_SOUGHT")),
    (FindNode(KEY), Bad("nodes twice", NODES + NODES, Code.OUT_OF_STATE, "Nodes on a request that is ENDED")),
    (FindNode(KEY), Bad("done and nothing", DONE, Code.OUT_OF_STATE, "DONE without the answer")),
    (FindNode(KEY), Bad("end and nothing", b"", Code.OUT_OF_STATE, "ended in the middle", fin=True)),
    (FindNode(KEY), Bad("chunks", MISSING, Code.MALFORMED, "MISSING frame on a stream where it has no place")),
    (FindNode(KEY), Bad("holdings", HOLDINGS, Code.MALFORMED, "HOLDINGS frame on a stream where it has no place")),
    (FindNode(KEY), Bad("endless", b"\x17" + encode_varint(8193), Code.MALFORMED, "claims 8193 bytes")),
    (FindProviders(KEY), Bad("nodes for providers", NODES, Code.OUT_OF_STATE, "request that is PROVIDERS_SOUGHT")),
    (FindProviders(KEY), Bad("providers that end", PROVIDERS[:-1], Code.OUT_OF_STATE, "in the middle", fin=True)),
    (Announce.of(KEY, 1, ()), Bad("nodes for a receipt", NODES, Code.OUT_OF_STATE, "request that is ANNOUNCED")),
    (Announce.of(KEY, 1, ()), Bad("two receipts", DONE + DONE, Code.OUT_OF_STATE, "Done on a request that is ENDED")),
]


@pytest.mark.parametrize(("query", "bad"), BAD_REPLIES, ids=lambda value: getattr(value, "name", ""))
def test_bad_reply(query: Query, bad: Bad) -> None:
    pair = members()
    request = pair.client.query(query)
    pair.run()
    pair.client.session.receive_stream(request, bad.frames, bad.fin, 0.0)
    check_breach(pair.client.session, bad.code, bad.reason)


BAD_TOLD = [
    Bad("nodes", NODES, Code.MALFORMED, "NODES frame on a stream where it has no place"),
    Bad("chunks", MISSING, Code.MALFORMED, "MISSING frame on a stream where it has no place"),
    Bad("holdings after the end", DONE + HOLDINGS, Code.OUT_OF_STATE, "Holdings on a request that is ENDED"),
    Bad("end without a word", HOLDINGS, Code.OUT_OF_STATE, "ended in the middle", fin=True),
    Bad("end in a frame", HOLDINGS[:-1], Code.OUT_OF_STATE, "ended in the middle", fin=True),
    Bad("endless holdings", b"\x1c" + encode_varint(66_561), Code.MALFORMED, "claims 66561 bytes"),
    Bad("endless followers", b"\x1d" + encode_varint(8193), Code.MALFORMED, "claims 8193 bytes"),
    Bad("unknown frames without end", frame(0x3F, b"") * 65, Code.MALFORMED, "more than 64 frames of unknown types"),
]


@pytest.mark.parametrize("bad", BAD_TOLD, ids=lambda bad: bad.name)
def test_bad_telling(bad: Bad) -> None:
    pair = members()
    request = pair.client.follow(FOLLOW)
    pair.run()
    pair.client.session.receive_stream(request, bad.frames, bad.fin, 0.0)
    check_breach(pair.client.session, bad.code, bad.reason)


BAD_QUESTIONS = [
    Bad("asked twice", FIND + FIND, Code.OUT_OF_STATE, "FindNode on a request that is ASKED"),
    Bad("follow behind a query", FIND + encode_frame(FOLLOW), Code.OUT_OF_STATE, "Follow on a request that is ASKED"),
    Bad("followed twice", encode_frame(FOLLOW) * 2, Code.OUT_OF_STATE, "Follow on a request that is FOLLOWED"),
    Bad("chunks of a follow", encode_frame(FOLLOW) + want(), Code.OUT_OF_STATE, "Want on a request that is FOLLOWED"),
    Bad("holdings nobody asked for", HOLDINGS, Code.MALFORMED, "HOLDINGS frame on a stream where it has no place"),
    Bad("half a query", FIND[:-1], Code.OUT_OF_STATE, "ended in the middle", fin=True),
]


@pytest.mark.parametrize("bad", BAD_QUESTIONS, ids=lambda bad: bad.name)
def test_bad_question(bad: Bad) -> None:
    pair = members()
    pair.server.session.receive_stream(4, bad.frames, bad.fin, 0.0)
    check_breach(pair.server.session, bad.code, bad.reason)


def test_news_before_the_verdict() -> None:
    server = server_session(Door(verdict=None), config=NETWORKED)
    server.start(0.0)
    server.receive_stream(0, encode_frame(News((b"early",))), False, 0.0)
    check_breach(server, Code.OUT_OF_STATE, "News in state AWAIT_HELLO")


def flooded_with_news(pair: Pair) -> int:
    """Frames until the session ends; memory stays where it is."""
    session = pair.server.session
    flood = encode_frame(News((bytes(256),) * 64))
    tracemalloc.start()
    frames = -1
    while session.state is SessionState.READY:
        session._out.clear()
        session.receive_stream(0, flood, False, 0.0)
        frames += 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
    return frames


@pytest.mark.parametrize("member", [True, False])
def test_flood_of_news(member: bool) -> None:
    pair = members()
    if not member:
        pair = Pair(client_session(config=NETWORKED), server_session(config=NETWORKED)).start().run()
    assert flooded_with_news(pair) == HEARD_BURST
    check_breach(pair.server.session, Code.LIMIT, "frames of news a second")


def test_news_of_one_who_may_prove_no_member_are_bounded() -> None:
    pair = Pair(client_session(scope=None, config=NETWORKED), server_session(config=NETWORKED)).start().run()
    session = pair.client.session
    flood = encode_frame(News((bytes(256),) * 64))
    tracemalloc.start()
    while session.state is SessionState.READY:
        session.receive_stream(0, flood, False, 0.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 << 20
    check_breach(session, Code.LIMIT, "frames of news a second")


@pytest.mark.parametrize("prefixes", [0, 1, limits.PREFIXES_MAX])
def test_flood_of_holdings(prefixes: int) -> None:
    pair = members()
    requests = [pair.client.follow(FOLLOW) for _ in range(4)]
    pair.run()
    session = pair.client.session
    flood = encode_frame(Holdings(False, False, bytes(8 * prefixes)))
    frames = 0
    while session.state is SessionState.READY and frames < 1_000_000:
        session.receive_stream(requests[frames % 4], flood, False, 0.0)
        frames += 1
        assert len(session._out) < 10
        if session.state is SessionState.READY:
            session._out.clear()
    assert frames - 1 == 2 * TELL_BURST // (len(flood) + FRAME_COST)
    check_breach(session, Code.LIMIT, "told of holdings faster")


def test_drops_of_holdings_do_not_pass_as_progress_or_unpaid() -> None:
    """Frames that are skipped, and bytes on follows given up, are paid for as well."""
    pair = members()
    request = pair.client.follow(FOLLOW)
    pair.run()
    session = pair.client.session
    session.cancel(request, 0.0)
    session.take()
    piece = bytes(1 << 20)
    for _ in range(int(2 * TELL_BURST) >> 20):
        session.receive_stream(request, piece, False, 0.0)
    assert session.state is SessionState.READY
    session.receive_stream(request, b"x", False, 0.0)
    check_breach(session, Code.LIMIT, "told of holdings faster")


def test_a_decent_rate_is_fine() -> None:
    pair = members()
    request = pair.client.follow(FOLLOW)
    pair.run()
    size = int(2 * TELL_RATE) - FRAME_COST - 100
    for second in range(200):
        data = encode_frame(Holdings(False, False, bytes(8 * 8000)))
        for _ in range(size // (len(data) + FRAME_COST)):
            pair.client.session.receive_stream(request, data, False, float(second))
        pair.client.session.take()
    assert pair.client.session.state is SessionState.READY


def test_follows_beyond_the_tolerated_are_busy_work() -> None:
    pair = members()
    server = pair.server.session
    for number in range(200):
        server.receive_stream(4 + 4 * number, encode_frame(FOLLOW), True, 0.0)
    outputs = server.take()
    accepted = [event for event in outputs if isinstance(event, FollowReceived)]
    assert len(accepted) == limits.FOLLOWS_MAX * limits.TOLERANCE
    turned_down = [output for output in outputs if isinstance(output, SendData)]
    assert len(turned_down) == 200 - len(accepted)
    assert all(output.fin for output in turned_down)
    server.tell(accepted[0].request_id, Holdings(True, True, b""), 0.0)
    (told,) = server.take()
    assert isinstance(told, SendData)
    assert told.stream_id == accepted[0].request_id


@pytest.mark.parametrize("message", [FindNode(KEY), FindProviders(KEY), Announce.of(KEY, 9, ()), FOLLOW])
def test_tickets_open_chunks_and_nothing_else(message: Body) -> None:
    server = server_session(Door(Only(frozenset())), config=NETWORKED)
    pair = Pair(client_session(config=NETWORKED), server).start().run()
    pair.server.events.clear()
    for stream_id in (4, 8):
        server.receive_stream(stream_id, encode_frame(message), True, 0.0)
    answers = server.take()
    said = encode_frame(Done(Code.DENIED, "for members of the network only"))
    assert answers == [SendData(stream_id, [said], True) for stream_id in (4, 8)]
    assert server.next_deadline() is None


def test_old_peer_is_not_asked() -> None:
    """To who does not list the capability, nothing is sent that it would take for a request cut short."""
    pair = Pair(client_session(config=NETWORKED), server_session(config=None)).start().run()
    before = pair.client.sent
    pair.client.follow(FOLLOW)
    pair.client.query(FindNode(KEY))
    pair.run()
    assert pair.client.sent == before
    assert [event.code for event in pair.client.of(RequestFailed)] == [Code.DENIED] * 2
    assert not pair.client.of(ToldOf)
