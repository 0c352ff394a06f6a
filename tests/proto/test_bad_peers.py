"""What a stranger may do wrong: each ends its session with a reason, and costs little."""

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from struct import pack

import pytest

from forge_p2p.ids import Hash
from forge_p2p.proto.hello import SessionConfig
from forge_p2p.proto.outputs import (
    CloseConnection,
    PeerGone,
    RequestCancelled,
    RequestFailed,
    RequestReceived,
    SendData,
)
from forge_p2p.proto.session import Session
from forge_p2p.proto.states import SessionState
from forge_p2p.wire import limits, messages
from forge_p2p.wire.codes import Code
from forge_p2p.wire.frames import encode_data_frame, encode_frame
from forge_p2p.wire.varint import encode_varint
from tests.proto.pair import NONCE, Door, connected, make_chunk, server_session
from tests.proto.test_hello import CREDENTIALS, hello, proof

HASHES = [make_chunk(1000, number).hash for number in range(4)]


def frame(kind: int, body: bytes) -> bytes:
    return encode_varint(kind) + encode_varint(len(body)) + body


def data(*rows: tuple[int, int, int, int], payload: bytes = b"") -> bytes:
    return frame(0x11, pack(">H", len(rows)) + b"".join(pack(">HBII", *row) for row in rows) + payload)


def want(hashes: list[Hash] = HASHES, max_bytes: int = 4000, deadline: int = 60_000) -> bytes:
    return encode_frame(messages.Want(b"".join(hashes), 0, deadline, max_bytes))


DONE = encode_frame(messages.Done(0, ""))
MISSING = encode_frame(messages.Missing((0, 1, 2, 3)))
HAVE_QUERY = encode_frame(messages.HaveQuery(b"".join(HASHES)))


@dataclass(frozen=True)
class Bad:
    """Frames on one stream, the code they end the session with, and words of its reason."""

    name: str
    frames: bytes
    code: Code
    reason: str
    fin: bool = False


def check_breach(session: Session, code: Code, reason: str) -> None:
    outputs = session.take()
    assert session.state is SessionState.CLOSED
    gone, closed = outputs[-2:]
    assert isinstance(gone, PeerGone)
    assert isinstance(closed, CloseConnection)
    assert gone.code is closed.code is code, gone.reason
    assert reason in gone.reason
    assert gone.reason == closed.reason
    session.receive_stream(4, b"more", False, 1.0)
    session.stream_aborted(4, 1.0)
    session.handle_timeout(100.0)
    assert not session.take()
    assert session.next_deadline() is None


BAD_ANSWERS = [
    Bad("index not asked for", data((4, 0, 1, 1), payload=b"x"), Code.UNSOLICITED, "index 4 of 4"),
    Bad("same chunk twice", data((1, 0, 1, 1), (1, 0, 1, 1), payload=b"xx"), Code.UNSOLICITED, "index 1 of 4"),
    Bad("chunk again", data((1, 0, 0, 0)) + data((1, 0, 0, 0)), Code.UNSOLICITED, "index 1 of 4"),
    Bad("chunk after missing", MISSING + data((1, 0, 0, 0)), Code.UNSOLICITED, "index 1 of 4"),
    Bad("missing after chunk", data((1, 0, 0, 0)) + MISSING, Code.UNSOLICITED, "index 1 of 4"),
    Bad("missing not asked for", encode_frame(messages.Missing((7,))), Code.UNSOLICITED, "index 7 of 4"),
    Bad(
        "more bytes than asked for", data((0, 0, 4001, 4001), payload=bytes(4001)), Code.LIMIT, "4001 bytes where 4000"
    ),
    Bad(
        "more raw bytes than asked for", data((0, 2, 4001, 10), payload=bytes(10)), Code.LIMIT, "4001 bytes where 4000"
    ),
    Bad("frame larger than asked for", frame(0x11, b"")[:1] + encode_varint(5000), Code.MALFORMED, "claims 5000 bytes"),
    Bad(
        "endless length", frame(0x11, b"")[:1] + encode_varint(2**62 - 1), Code.MALFORMED, "claims 4611686018427387903"
    ),
    Bad("chunk too large", data((0, 2, 262_145, 10), payload=bytes(10)), Code.MALFORMED, "chunk of 262145 bytes"),
    Bad("bomb", data((0, 2, 2**32 - 1, 10), payload=bytes(10)), Code.MALFORMED, "chunk of 4294967295 bytes"),
    Bad("stored longer than raw", data((0, 2, 9, 10), payload=bytes(10)), Code.MALFORMED, "of 9 bytes stored as 10"),
    Bad("raw of another length", data((0, 0, 11, 10), payload=bytes(10)), Code.MALFORMED, "of 11 bytes stored as 10"),
    Bad("unknown codec", data((0, 3, 10, 10), payload=bytes(10)), Code.MALFORMED, "codec 3"),
    Bad("payload too short", data((0, 0, 10, 10), payload=bytes(9)), Code.MALFORMED, "9 payload bytes"),
    Bad("payload too long", data((0, 0, 10, 10), payload=bytes(11)), Code.MALFORMED, "11 payload bytes"),
    Bad("no chunks", data(), Code.MALFORMED, "claims 0 chunks"),
    Bad("more rows than bytes", frame(0x11, pack(">H", 1024)), Code.MALFORMED, "claims 1024 chunks"),
    Bad("empty frame", frame(0x11, b""), Code.MALFORMED, "too short"),
    Bad("done too early", DONE, Code.OUT_OF_STATE, "4 of 4 unanswered"),
    Bad("done twice", MISSING + DONE + DONE, Code.OUT_OF_STATE, "Done on a request that is ENDED"),
    Bad("data after done", MISSING + DONE + data((1, 0, 0, 0)), Code.OUT_OF_STATE, "Data on a request that is ENDED"),
    Bad(
        "bitmap for a want", encode_frame(messages.Have(b"\xf0")), Code.OUT_OF_STATE, "Have on a request that is WANTED"
    ),
    Bad("request as an answer", want(), Code.MALFORMED, "WANT frame on a stream where it has no place"),
    Bad("hello as an answer", encode_frame(hello()), Code.MALFORMED, "HELLO frame on a stream where it has no place"),
    Bad("end without done", MISSING, Code.OUT_OF_STATE, "ended in the middle", fin=True),
    Bad("end in a frame", MISSING + DONE + b"\x11", Code.OUT_OF_STATE, "ended in the middle", fin=True),
    Bad("empty answer", b"", Code.OUT_OF_STATE, "ended in the middle", fin=True),
    Bad("missing nothing", frame(0x12, b"\x91\x90"), Code.MALFORMED, "MISSING frame"),
    Bad("skipped frames without end", frame(0x3F, b"") * 65, Code.MALFORMED, "more than 64 frames of unknown types"),
    Bad("long unknown frame", encode_varint(0x3F) + encode_varint(65_537), Code.MALFORMED, "0x3f claims 65537 bytes"),
]


@pytest.mark.parametrize("bad", BAD_ANSWERS, ids=lambda bad: bad.name)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "byte by byte"])
def test_bad_answer(bad: Bad, whole: bool) -> None:
    pair = connected()
    pair.server.batch = 0
    other = pair.client.want([make_chunk(9).hash])
    request = pair.client.want(HASHES, max_bytes=4000)
    pair.run()
    session = pair.client.session
    pieces = [bad.frames] if whole else [bytes([byte]) for byte in bad.frames] or [b""]
    for piece in pieces[:-1]:
        session.receive_stream(request, piece, False, 0.0)
    session.receive_stream(request, pieces[-1], bad.fin, 0.0)
    outputs = session.take()
    failed = [event for event in outputs if isinstance(event, RequestFailed)]
    assert {event.request_id for event in failed} | {request} == {request, other}
    assert other in {event.request_id for event in failed}, "what else was asked of such a peer fails with it"
    session._out.extend(outputs)
    check_breach(session, bad.code, bad.reason)


BAD_HAVES = [
    Bad("bitmap too long", encode_frame(messages.Have(b"\xf0\x00")), Code.MALFORMED, "2 bytes for 4 hashes"),
    Bad("spare bits set", encode_frame(messages.Have(b"\xf8")), Code.MALFORMED, "1 bytes for 4 hashes"),
    Bad("empty bitmap", frame(0x15, b"\x91\xc4\x00"), Code.MALFORMED, "HAVE frame"),
    Bad("chunks for a query", data((0, 0, 0, 0)), Code.OUT_OF_STATE, "Data on a request that is QUERIED"),
    Bad("done without bitmap", DONE, Code.OUT_OF_STATE, "unanswered"),
]


@pytest.mark.parametrize("bad", BAD_HAVES, ids=lambda bad: bad.name)
def test_bad_have(bad: Bad) -> None:
    pair = connected()
    pair.server.batch = 0
    query = pair.client.have(HASHES)
    pair.run()
    pair.client.session.receive_stream(query, bad.frames, bad.fin, 0.0)
    check_breach(pair.client.session, bad.code, bad.reason)


BAD_REQUESTS = [
    Bad(
        "not whole hashes",
        frame(0x10, b"\x94\xc4\x21" + bytes(33) + b"\x00\x01\x00"),
        Code.MALFORMED,
        "33 bytes are not",
    ),
    Bad("no hashes", frame(0x10, b"\x94\xc4\x00\x00\x01\x00"), Code.MALFORMED, "WANT frame"),
    Bad("too many hashes", want(HASHES * 265), Code.MALFORMED, "of length <= 32768"),
    Bad("one hash too many", want([*HASHES * 256, HASHES[0]]), Code.MALFORMED, "WANT frame"),
    Bad("too many bytes", want(max_bytes=limits.WANT_BYTES_MAX + 1), Code.MALFORMED, "WANT frame"),
    Bad("no time", want(deadline=0), Code.MALFORMED, "WANT frame"),
    Bad("too much time", want(deadline=600_001), Code.MALFORMED, "WANT frame"),
    Bad("text for hashes", frame(0x10, b"\x94\xa1x\x00\x01\x00"), Code.MALFORMED, "WANT frame"),
    Bad("too few fields", frame(0x10, b"\x91\xc4\x20" + bytes(32)), Code.MALFORMED, "WANT frame"),
    Bad("deep nesting", frame(0x10, want()[2:-1] + b"\x91" * 30_000), Code.MALFORMED, "WANT frame"),
    Bad("garbage", b"\x10\x05hello", Code.MALFORMED, "WANT frame"),
    Bad("asked twice", want() + want(), Code.OUT_OF_STATE, "Want on a request that is SERVING"),
    Bad("query behind a want", want() + HAVE_QUERY, Code.OUT_OF_STATE, "HaveQuery on a request that is SERVING"),
    Bad("chunks nobody asked for", data((0, 0, 0, 0)), Code.MALFORMED, "DATA frame on a stream where it has no place"),
    Bad("ping on a request's stream", encode_frame(messages.Ping(1)), Code.MALFORMED, "PING frame on a stream"),
    Bad("nothing and the end", b"", Code.OUT_OF_STATE, "ended in the middle", fin=True),
    Bad("half a request", want()[:-1], Code.OUT_OF_STATE, "ended in the middle", fin=True),
    Bad("half a frame behind it", want() + b"\x3f", Code.OUT_OF_STATE, "ended in the middle", fin=True),
]


@pytest.mark.parametrize("bad", BAD_REQUESTS, ids=lambda bad: bad.name)
def test_bad_request(bad: Bad) -> None:
    pair = connected()
    pair.server.session.receive_stream(4, bad.frames, bad.fin, 0.0)
    check_breach(pair.server.session, bad.code, bad.reason)


BAD_CONTROL = [
    Bad("hello again", encode_frame(hello()), Code.OUT_OF_STATE, "Hello in state READY"),
    Bad("proof again", proof(), Code.OUT_OF_STATE, "Proof in state READY"),
    Bad("credentials again", CREDENTIALS, Code.OUT_OF_STATE, "Credentials in state READY"),
    Bad("welcome to the server", encode_frame(messages.Welcome()), Code.OUT_OF_STATE, "Welcome in state READY"),
    Bad("request on the control stream", want(), Code.MALFORMED, "WANT frame on a stream where it has no place"),
    Bad("pings without end", encode_frame(messages.Ping(1)) * 129, Code.LIMIT, "control frames a second"),
    Bad("unknown frames without end", frame(0x3F, b"") * 129, Code.LIMIT, "control frames a second"),
    Bad("end without goodbye", b"", Code.OUT_OF_STATE, "without a goodbye", fin=True),
    Bad("broken text", frame(0x08, b"\x92\x00\xa2\xff\xff"), Code.MALFORMED, "GOODBYE frame"),
    Bad("reason too long", encode_frame(messages.Goodbye(0, "x" * 257)), Code.MALFORMED, "GOODBYE frame"),
]


@pytest.mark.parametrize("bad", BAD_CONTROL, ids=lambda bad: bad.name)
def test_bad_control_stream(bad: Bad) -> None:
    pair = connected()
    pair.server.session.receive_stream(0, bad.frames, bad.fin, 0.0)
    check_breach(pair.server.session, bad.code, bad.reason)


def test_pings_at_a_decent_rate_are_fine() -> None:
    pair = connected()
    for second in range(1000):
        pair.server.session.receive_stream(0, encode_frame(messages.Ping(1)) * 10, False, float(second))
    assert pair.server.session.state is SessionState.READY


BAD_HELLOS = [
    Bad("request first", want(), Code.MALFORMED, "WANT frame"),
    Bad("proof first", proof(), Code.OUT_OF_STATE, "Proof in state AWAIT_HELLO"),
    Bad("credentials first", CREDENTIALS, Code.OUT_OF_STATE, "Credentials in state AWAIT_HELLO"),
    Bad("ping first", encode_frame(messages.Ping(1)), Code.OUT_OF_STATE, "Ping in state AWAIT_HELLO"),
    Bad("no proof", encode_frame(hello()) + CREDENTIALS, Code.OUT_OF_STATE, "Credentials in state AWAIT_PROOF"),
    Bad("proof twice", encode_frame(hello()) + proof() * 2, Code.OUT_OF_STATE, "Proof in state AWAIT_CREDENTIALS"),
    Bad(
        "empty range",
        encode_frame(hello())[:3] + b"\x02" + encode_frame(hello())[4:],
        Code.MALFORMED,
        "versions is empty",
    ),
    Bad("hello too long", b"\x01" + encode_varint(4097), Code.MALFORMED, "claims 4097 bytes, the most is 4096"),
    Bad("many skipped frames", frame(0x3F, bytes(4000)) * 5, Code.LIMIT, "hello of more than 16384 bytes"),
]


@pytest.mark.parametrize("bad", BAD_HELLOS, ids=lambda bad: bad.name)
def test_bad_hello(bad: Bad) -> None:
    server = server_session()
    server.start(0.0)
    server.receive_stream(0, bad.frames, bad.fin, 0.0)
    check_breach(server, bad.code, bad.reason)


def many_early_bytes(server: Session) -> None:
    server.receive_stream(4, encode_frame(messages.Want(bytes(32 * 260), 0, 1, 1)), True, 0.0)


def many_early_drops(server: Session) -> None:
    for number in range(8):
        for _ in range(513):
            server.receive_stream(4 + 4 * number, b"\x3f\x40", False, 0.0)


def many_early_streams(server: Session) -> None:
    for number in range(9):
        server.receive_stream(4 + 4 * number, b"", False, 0.0)


@pytest.mark.parametrize("flood", [many_early_bytes, many_early_drops, many_early_streams])
def test_strangers_hold_little(flood: Callable[[Session], None]) -> None:
    server = server_session(Door(verdict=None))
    server.start(0.0)
    server.receive_stream(0, encode_frame(hello()) + proof() + CREDENTIALS, False, 0.0)
    server.take()
    tracemalloc.start()
    flood(server)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 1024
    check_breach(server, Code.LIMIT, "")


def test_stranger_without_proof_gets_nothing() -> None:
    server = server_session()
    server.start(0.0)
    server.receive_stream(4, want(), True, 0.0)
    server.receive_stream(0, encode_frame(hello()), False, 0.0)
    (challenge,) = server.take()
    assert isinstance(challenge, SendData)
    assert NONCE in b"".join(challenge.buffers)
    server.handle_timeout(10.0)
    assert not [output for output in server.take() if isinstance(output, SendData | RequestReceived)]


def test_too_many_requests_at_once() -> None:
    server = connected(config=SessionConfig(max_requests=5)).server.session
    for number in range(10):
        server.receive_stream(4 + 4 * number, want(max_bytes=0), True, 0.0)
    assert len([event for event in server.take() if isinstance(event, RequestReceived)]) == 10
    server.receive_stream(44, b"", False, 0.0)
    check_breach(server, Code.LIMIT, "more than 10 requests")


def test_too_many_bytes_asked_for() -> None:
    server = connected().server.session
    for number in range(32):
        server.receive_stream(4 + 4 * number, want(max_bytes=limits.WANT_BYTES_MAX), True, 0.0)
    assert server.state is SessionState.READY
    server.receive_stream(4 + 4 * 32, want(max_bytes=1), True, 0.0)
    check_breach(server, Code.LIMIT, "bytes asked for at once")


@pytest.mark.parametrize("begun", [b"", b"\x10", want()[:-1]])
def test_stream_left_idle(begun: bytes) -> None:
    server = connected().server.session
    server.receive_stream(4, begun, False, 1.0)
    assert server.next_deadline() == 31.0
    server.handle_timeout(31.0)
    check_breach(server, Code.TIMEOUT, "left open without a request")


def test_request_that_never_ends_its_stream() -> None:
    server = connected().server.session
    server.receive_stream(4, want(), False, 0.0)
    server.answer(4, [0, 1, 2, 3], [None] * 4, 1.0)
    server.take()
    assert server.next_deadline() == 31.0
    server.handle_timeout(31.0)
    check_breach(server, Code.TIMEOUT, "left open")


def test_answer_that_never_ends_its_stream() -> None:
    pair = connected()
    pair.server.batch = 0
    request = pair.client.want(HASHES)
    pair.run()
    session = pair.client.session
    session.receive_stream(request, MISSING + DONE, False, 0.0)
    session.take()
    session.handle_timeout(10.0)
    assert session.state is SessionState.READY
    assert session.next_deadline() is None


def test_rapid_reset() -> None:
    server = connected().server.session
    cancelled = 0
    for number in range(2048):
        server.receive_stream(4 + 4 * number, want(), True, 0.0)
        server.stream_aborted(4 + 4 * number, 0.0)
        cancelled += sum(isinstance(event, RequestCancelled) for event in server.take())
    assert cancelled == 2048
    server.receive_stream(4 + 4 * 2048, want(), True, 0.0)
    server.stream_aborted(4 + 4 * 2048, 0.0)
    check_breach(server, Code.LIMIT, "opened and aborted")


def test_control_stream_aborted() -> None:
    server = connected().server.session
    server.stream_aborted(0, 0.0)
    check_breach(server, Code.OUT_OF_STATE, "control stream was aborted")


def test_flood_on_a_request_given_up() -> None:
    pair = connected()
    pair.server.batch = 0
    request = pair.client.want(HASHES, max_bytes=4000)
    pair.run()
    session = pair.client.session
    session.cancel(request, 0.0)
    session.take()
    session.receive_stream(request, bytes(69_000), False, 0.0)
    assert session.state is SessionState.READY
    session.receive_stream(request, bytes(1000), False, 0.0)
    check_breach(session, Code.UNSOLICITED, "given up")


def test_bytes_on_a_stream_of_ours_that_never_was() -> None:
    session = connected().client.session
    session.receive_stream(400, MISSING, False, 0.0)
    check_breach(session, Code.UNSOLICITED, "")


def test_endless_frame_in_drops_costs_its_length_at_most() -> None:
    """Pieces of two bytes, were each kept as an object of its own, would take 30 times as much."""
    pair = connected()
    pair.server.batch = 0
    chunk = make_chunk(262_144)
    request = pair.client.want([chunk.hash])
    pair.run()
    wire = b"".join(encode_data_frame([0], [chunk]))
    session = pair.client.session
    tracemalloc.start()
    for at in range(0, len(wire) - 2, 2):
        session.receive_stream(request, wire[at : at + 2], False, 0.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * len(wire)
    assert session.state is SessionState.READY
