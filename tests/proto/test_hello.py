"""From the first byte to READY, or to a refusal with its reason."""

import pytest

from forge_p2p.ids import NodeId
from forge_p2p.proto.auth import EVERYTHING, NOTHING, Refusal, proof_text
from forge_p2p.proto.hello import ClientRole, SessionConfig
from forge_p2p.proto.outputs import (
    AuthorizationNeeded,
    ChunksReceived,
    CloseConnection,
    PeerGone,
    PongReceived,
    Ready,
    Refused,
    RequestDone,
    RequestFailed,
    RequestReceived,
    SendData,
)
from forge_p2p.proto.session import LINGER, Session
from forge_p2p.proto.states import SessionState
from forge_p2p.wire import messages
from forge_p2p.wire.bodies import encode_body
from forge_p2p.wire.codes import Code
from forge_p2p.wire.fields import Body
from forge_p2p.wire.frames import FrameReader, encode_frame
from forge_p2p.wire.limits import EARLY_BYTES_MAX
from forge_p2p.wire.varint import encode_varint
from tests.proto.pair import (
    CLIENT_ID,
    CLIENT_KEY,
    NONCE,
    SERVER_ID,
    Door,
    Pair,
    client_session,
    make_chunk,
    server_session,
)

CREDENTIALS = encode_frame(messages.Credentials(b"ticket"))


def hello(first: int = 1, last: int = 1, capabilities: tuple[str, ...] = (), nonce: bytes = b"") -> messages.Hello:
    return messages.Hello(first, last, capabilities, CLIENT_ID, "future/9", 64, nonce)


def say(session: Session, *frames: bytes) -> list[object]:
    """What a session answers to bytes on the control stream; sent frames decoded."""
    session.receive_stream(0, b"".join(frames), False, 0.0)
    heard: list[object] = []
    for output in session.take():
        if isinstance(output, SendData):
            heard += FrameReader().feed(b"".join(output.buffers))
        else:
            heard.append(output)
    return heard


def challenged(door: Door | None = None, nonce: bytes = NONCE) -> Session:
    server = server_session(door, nonce)
    server.start(0.0)
    assert isinstance(say(server, encode_frame(hello()))[0], messages.Hello)
    return server


def proof(server_id: NodeId = SERVER_ID, nonce: bytes = NONCE, client_id: NodeId = CLIENT_ID) -> bytes:
    return encode_frame(messages.Proof(CLIENT_KEY.sign(proof_text(server_id, nonce, client_id))))


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_both_ends_get_ready(seed: int | None) -> None:
    door = Door()
    pair = Pair(
        client_session(config=SessionConfig(agent="cli/1", capabilities=frozenset({"delta", "new"}))),
        server_session(
            door, config=SessionConfig(agent="srv/2", capabilities=frozenset({"delta", "old"}), max_requests=7)
        ),
        seed,
    )
    pair.start().run()
    assert pair.client.events == [Ready(SERVER_ID, "srv/2", 1, frozenset({"delta"}), 7)]
    assert pair.server.events == [Ready(CLIENT_ID, "cli/1", 1, frozenset({"delta"}), 64)]
    assert door.asked == [(CLIENT_ID, b"ticket")]
    assert pair.client.session.next_deadline() is None, "nothing is waited for once both are ready"


def test_first_request_costs_no_round_trip_of_its_own() -> None:
    client = client_session()
    client.start(0.0)
    chunk = make_chunk(100)
    client.want(4, [chunk.hash], max_bytes=100, deadline=9, now=0.0)
    first = [output for output in client.take() if isinstance(output, SendData)]
    assert [output.stream_id for output in first] == [0], "nothing goes out before the nonce is known"
    server = challenged()
    reply = encode_frame(messages.Hello(1, 1, (), SERVER_ID, "s", 64, NONCE))
    client.receive_stream(0, reply, False, 0.0)
    second = [output for output in client.take() if isinstance(output, SendData)]
    assert [output.stream_id for output in second] == [0, 4], "the WANT follows the proof at once"
    for output in second:
        server.receive_stream(output.stream_id, b"".join(output.buffers), output.fin, 0.0)
    outputs = server.take()
    assert [type(output) for output in outputs] == [SendData, Ready, RequestReceived]


@pytest.mark.parametrize("order", ["proof first", "want first"])
def test_early_requests_wait_for_the_verdict(order: str) -> None:
    door = Door(verdict=None)
    server = challenged(door)
    want = encode_frame(messages.Want(make_chunk(1).hash, 0, 1000, 10))
    if order == "want first":
        server.receive_stream(4, want, True, 0.0)
        assert not server.take()
    assert say(server, proof(), CREDENTIALS) == [AuthorizationNeeded(CLIENT_ID, b"ticket")]
    if order == "proof first":
        server.receive_stream(4, want, True, 0.0)
        assert not server.take()
    server.decide(EVERYTHING, 1.0)
    assert [type(output) for output in server.take()] == [SendData, Ready, RequestReceived]


def test_client_holds_what_is_too_much_to_ask_early() -> None:
    pair = Pair(client_session(), server_session(Door(verdict=None)))
    chunks = [make_chunk(10, seed) for seed in range(1000)]
    hashes = pair.server.store(*chunks)
    for at in range(0, 1000, 100):
        pair.client.want(hashes[at : at + 100])
    pair.start().run()
    assert pair.server.of(AuthorizationNeeded)
    assert pair.client.sent < EARLY_BYTES_MAX + 1024
    pair.server.session.decide(EVERYTHING, 0.0)
    pair.run()
    assert len(pair.client.of(RequestDone)) == 10
    assert sum(len(event.chunks) for event in pair.client.of(ChunksReceived)) == 1000


@pytest.mark.parametrize("code", [Code.DENIED, Code.EXPIRED, Code.REVOKED])
@pytest.mark.parametrize("seed", [None, 5])
def test_refusal_reaches_the_client_with_its_reason(code: Code, seed: int | None) -> None:
    pair = Pair(client_session(), server_session(Door(Refusal(code, "no, because"))), seed)
    request = pair.client.want([make_chunk(1).hash])
    pair.start().run()
    assert pair.client.events == [RequestFailed(request, code, "no, because", False), Refused(code, "no, because")]
    assert pair.client.closed == CloseConnection(Code.OK, "")
    assert pair.server.events == [PeerGone(code, "no, because")]
    assert pair.server.session.state is SessionState.CLOSED


def test_refused_client_that_does_not_hang_up_is_hung_up_on() -> None:
    server = challenged(Door(Refusal(Code.DENIED, "no")))
    assert say(server, proof(), CREDENTIALS) == [messages.Refused(Code.DENIED, "no"), PeerGone(Code.DENIED, "no")]
    assert server.next_deadline() == LINGER
    server.receive_stream(0, b"\xff" * 100, False, 0.5)
    server.handle_timeout(LINGER)
    assert server.take() == [CloseConnection(Code.DENIED, "no")]


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(proof(nonce=bytes(32)), id="made for another connection's nonce"),
        pytest.param(proof(server_id=CLIENT_ID), id="made for another server"),
        pytest.param(proof(client_id=SERVER_ID), id="made for another client"),
        pytest.param(encode_frame(messages.Proof(bytes(64))), id="zeros"),
    ],
)
def test_proof_for_anything_else_is_refused(wrong: bytes) -> None:
    door = Door()
    heard = say(challenged(door), wrong, CREDENTIALS)
    assert heard == [
        messages.Refused(Code.IDENTITY, "the proof of identity does not hold"),
        PeerGone(Code.IDENTITY, "the proof of identity does not hold"),
    ]
    assert not door.asked, "credentials of the unproven are not even looked at"


def test_node_id_that_is_no_key_is_refused() -> None:
    server = server_session()
    server.start(0.0)
    nobody = messages.Hello(1, 1, (), b"\xff" * 32, "", 1, b"")
    assert isinstance(say(server, encode_frame(nobody))[0], messages.Hello)
    assert isinstance(say(server, proof(), CREDENTIALS)[0], messages.Refused)


@pytest.mark.parametrize("offer", [(1, 1), (0, 1), (1, 9), (0, 65535)])
def test_version_is_the_common_one(offer: tuple[int, int]) -> None:
    server = server_session()
    server.start(0.0)
    (reply,) = say(server, encode_frame(hello(*offer)))
    assert isinstance(reply, messages.Hello)
    assert (reply.first_version, reply.last_version) == (1, 1)


@pytest.mark.parametrize("offer", [(0, 0), (2, 9)])
def test_no_common_version_is_a_refusal(offer: tuple[int, int]) -> None:
    server = server_session()
    server.start(0.0)
    refused, gone = say(server, encode_frame(hello(*offer)))
    assert isinstance(refused, messages.Refused)
    assert refused.code == Code.VERSION
    assert f"{offer[0]} to {offer[1]}" in refused.reason
    assert isinstance(gone, PeerGone)


def test_what_a_later_version_adds_is_tolerated() -> None:
    """More fields in a known frame, capabilities nobody heard of, frames nobody heard of, codes nobody heard of."""
    server = server_session(config=SessionConfig(capabilities=frozenset({"delta"})))
    server.start(0.0)
    body = encode_body(hello(1, 7, ("quantum", "delta")))
    longer = bytes([body[0] + 2]) + body[1:] + b"\xc0\x81\xa1k\x93\x01\x02\x03"
    frame = encode_varint(1) + encode_varint(len(longer)) + longer
    unknown = encode_varint(0x3FFF) + encode_varint(300) + bytes(300)
    (reply,) = say(server, unknown, frame, unknown)
    assert isinstance(reply, messages.Hello)
    welcome, ready = say(server, unknown, proof(), unknown, CREDENTIALS)
    assert isinstance(welcome, messages.Welcome)
    assert isinstance(ready, Ready)
    assert ready.capabilities == {"delta"}
    assert say(server, unknown, encode_frame(messages.Ping(7))) == [messages.Pong(7)]
    gone, _ = say(server, encode_frame(messages.Goodbye(999, "later\x1b[2J")))
    assert gone == PeerGone(Code.UNKNOWN, "later?[2J"), "unknown codes are named so, and text is made harmless"


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (messages.Hello(1, 1, (), CLIENT_ID, "", 1, NONCE), Code.IDENTITY),
        (messages.Hello(2, 2, (), SERVER_ID, "", 1, NONCE), Code.VERSION),
        (messages.Hello(0, 1, (), SERVER_ID, "", 1, NONCE), Code.VERSION),
        (messages.Hello(1, 1, (), SERVER_ID, "", 1, b"short"), Code.MALFORMED),
        (messages.Welcome(), Code.OUT_OF_STATE),
    ],
)
def test_client_signs_for_nobody_but_its_server(reply: Body, code: Code) -> None:
    signed: list[bytes] = []

    def sign(text: bytes) -> bytes:
        signed.append(text)
        return CLIENT_KEY.sign(text)

    client = Session(ClientRole(CLIENT_ID, SERVER_ID, sign))
    client.start(0.0)
    client.take()
    gone, closed = say(client, encode_frame(reply))
    assert isinstance(gone, PeerGone)
    assert gone.code is code
    assert isinstance(closed, CloseConnection)
    assert not signed


@pytest.mark.parametrize("make", [client_session, server_session])
def test_silence_ends_the_hello(make: type) -> None:
    session: Session = make()
    session.start(5.0)
    session.take()
    assert session.next_deadline() == 15.0
    session.handle_timeout(14.9)
    assert not session.take()
    session.handle_timeout(15.0)
    gone, closed = session.take()
    assert isinstance(gone, PeerGone)
    assert gone.code is Code.TIMEOUT
    assert isinstance(closed, CloseConnection)


def test_undecided_server_gives_up_in_time() -> None:
    server = challenged(Door(verdict=None))
    say(server, proof(), CREDENTIALS)
    server.handle_timeout(10.0)
    assert server.state is SessionState.CLOSED
    server.take()
    server.decide(NOTHING, 11.0)
    assert not server.take()


def test_goodbye_and_ping() -> None:
    pair = Pair(client_session(), server_session(), 3).start().run()
    pair.client.session.ping(41)
    pair.server.session.ping(42)
    pair.run()
    assert pair.client.of(PongReceived) == [PongReceived(41)]
    assert pair.server.of(PongReceived) == [PongReceived(42)]
    request = pair.server.want([make_chunk(1).hash])
    pair.server.session.close(Code.LEAVING, "shutting down", 0.0)
    pair.run()
    assert pair.client.of(PeerGone) == [PeerGone(Code.LEAVING, "shutting down")]
    assert pair.server.of(PeerGone) == [PeerGone(Code.LEAVING, "shutting down")]
    assert pair.server.of(RequestFailed) == [RequestFailed(request, Code.LEAVING, "shutting down", True)]
    assert pair.client.session.state is pair.server.session.state is SessionState.CLOSED


def test_lost_connection() -> None:
    pair = Pair(client_session(), server_session(), 3).start().run()
    pair.server.batch = 0
    request = pair.client.want([make_chunk(1).hash])
    pair.run()
    for end in (pair.client, pair.server):
        end.events.clear()
        end.session.connection_lost("the peer has gone silent", 1.0)
        end.session.connection_lost("again", 1.0)
        end.drain(1.0)
    gone = PeerGone(Code.GONE, "the peer has gone silent")
    assert pair.client.events == [RequestFailed(request, Code.GONE, gone.reason, True), gone]
    assert pair.server.events == [gone]
    late = pair.client.want([make_chunk(2).hash])
    pair.client.drain(2.0)
    assert pair.client.of(RequestFailed)[-1].request_id == late
    pair.server.session.answer(request, [0], [None], 2.0)
    pair.server.session.finish(request, Code.BUSY, "", 2.0)
    pair.server.session.close(Code.OK, "", 2.0)
    assert not pair.server.session.take(), "after the end there is nothing more to say"


def test_commands_out_of_order_are_this_sides_errors() -> None:
    client = client_session()
    client.start(0.0)
    with pytest.raises(ValueError, match="once"):
        client.start(0.0)
    with pytest.raises(ValueError, match="stream 5"):
        client.want(5, [make_chunk(1).hash], max_bytes=1, deadline=1, now=0)
    with pytest.raises(ValueError, match="stream 0"):
        client.have(0, [make_chunk(1).hash], deadline=1, now=0)
    with pytest.raises(ValueError, match="1024"):
        client.want(4, [], max_bytes=1, deadline=1, now=0)
    with pytest.raises(ValueError, match="bytes"):
        client.want(4, [make_chunk(1).hash], max_bytes=1 << 30, deadline=1, now=0)
