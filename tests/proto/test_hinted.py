"""Wanting with bases, over two sessions on a virtual clock."""

from collections.abc import Sequence

import pytest

from forge_p2p.content.codec import EncodedChunk
from forge_p2p.content.delta import DeltaChunk, DeltaForm
from forge_p2p.ids import Hash
from forge_p2p.proto.hints import Answer, Hints, Lacking
from forge_p2p.proto.outputs import (
    ChunksReceived,
    DeltasReceived,
    PeerGone,
    RequestBaseless,
    RequestDone,
    RequestMissing,
    RequestReceived,
)
from forge_p2p.wire import messages
from forge_p2p.wire.codes import Code
from forge_p2p.wire.frames import encode_delta_frame, encode_frame
from forge_p2p.wire.limits import BASES_MAX, SIGNATURES_BYTES
from tests.proto.pair import Door, Only, Pair, client_session, connected, make_chunk, server_session

CHUNKS = [make_chunk(1000 + number) for number in range(4)]
HASHES = [chunk.hash for chunk in CHUNKS]
BASE = make_chunk(999).hash
LARGE = DeltaChunk(BASE, DeltaForm.BASE, 99_999, b"")


def delta(chunk: EncodedChunk) -> DeltaChunk:
    return DeltaChunk(chunk.hash, DeltaForm.BASE, chunk.size, b"delta")


def asked(pair: Pair, hints: Hints, hashes: Sequence[Hash] = HASHES) -> tuple[int, int]:
    """Sends a request; its number at the client and at the server."""
    pair.server.batch = 0
    number = pair.client.session.want(4000, hashes, max_bytes=1 << 20, deadline=100.0, now=0.0, hints=hints)
    pair.run()
    return number, pair.server.of(RequestReceived)[-1].request_id


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_every_kind_of_answer(seed: int | None) -> None:
    pair = connected(seed)
    hints = Hints({0: BASE, 1: BASE}, {2: b"\x08abcd"}, signs=True)
    number, request = asked(pair, hints, [*HASHES, BASE])
    heard = pair.server.session.hints(request)
    assert heard == hints
    answers: list[Answer] = [delta(CHUNKS[0]), Lacking.BASE, delta(CHUNKS[2]), CHUNKS[3], None]
    pair.server.session.answer(request, range(5), answers, 0.0)
    pair.run()
    pairs = [zip(event.indexes, event.deltas, strict=True) for event in pair.client.of(DeltasReceived)]
    deltas = [(index, chunk.hash) for each in pairs for index, chunk in each]
    assert deltas == [(0, HASHES[0]), (2, HASHES[2])]
    assert [list(event.indexes) for event in pair.client.of(RequestBaseless)] == [[1]]
    assert [list(event.indexes) for event in pair.client.of(ChunksReceived)] == [[3]]
    assert [list(event.indexes) for event in pair.client.of(RequestMissing)] == [[4]]
    assert pair.client.events[-1] == RequestDone(number)
    assert pair.client.session.outstanding == 0
    assert pair.server.session.hints(request) is None


def test_a_base_outside_the_scope_is_unknown() -> None:
    scope = Only(frozenset([HASHES[0], HASHES[1]]))
    pair = Pair(client_session(), server_session(Door(scope))).start().run()
    _, request = asked(pair, Hints({0: HASHES[1], 1: BASE}), HASHES[:2])
    assert pair.server.session.hints(request) == Hints({0: HASHES[1], 1: None})


def test_a_request_without_bases_has_no_hints() -> None:
    pair = connected()
    pair.server.batch = 0
    pair.client.want(HASHES)
    pair.run()
    assert pair.server.session.hints(pair.server.of(RequestReceived)[-1].request_id) is None


@pytest.mark.parametrize(
    ("hints", "frame", "code"),
    [
        (None, b"".join(encode_delta_frame([0], [delta(CHUNKS[0])])), Code.MALFORMED),
        (None, encode_frame(messages.Baseless((0,))), Code.MALFORMED),
        (Hints({1: BASE}), b"".join(encode_delta_frame([0], [delta(CHUNKS[0])])), Code.UNSOLICITED),
        (Hints({1: BASE}), b"".join(encode_delta_frame([9], [delta(CHUNKS[0])])), Code.UNSOLICITED),
        (Hints({1: BASE}), b"".join(encode_delta_frame([1], [delta(CHUNKS[1])])) * 2, Code.UNSOLICITED),
        (Hints({1: BASE}), encode_frame(messages.Baseless((0,))), Code.UNSOLICITED),
        (Hints({1: BASE}), encode_frame(messages.Baseless((1, 1))), Code.UNSOLICITED),
        (Hints({1: BASE}), b"".join(encode_delta_frame([1], [LARGE])), Code.LIMIT),
    ],
)  # fmt: skip
def test_what_was_not_asked_for_is_a_breach(hints: Hints | None, frame: bytes, code: Code) -> None:
    pair = connected()
    pair.server.batch = 0
    pair.client.session.want(4000, HASHES, max_bytes=50_000, deadline=100.0, now=0.0, hints=hints)
    pair.run()
    pair.client.session.receive_stream(4000, frame, False, 0.0)
    pair.client.drain(0.0)
    assert [event.code for event in pair.client.of(PeerGone)] == [code]


@pytest.mark.parametrize(
    "hints",
    [
        Hints(dict.fromkeys(range(BASES_MAX + 1), BASE)),
        Hints(signatures={0: bytes(SIGNATURES_BYTES // 2), 1: bytes(SIGNATURES_BYTES // 2 + 1)}),
    ],
)
def test_more_than_the_protocol_allows_is_not_asked(hints: Hints) -> None:
    with pytest.raises(ValueError, match="a request has at most"):
        connected().client.session.want(4000, HASHES, max_bytes=1, deadline=1.0, now=0.0, hints=hints)


def test_a_hinted_request_within_its_limits_is_taken() -> None:
    pair = connected()
    hashes = [make_chunk(number).hash for number in range(1024)]
    bases: dict[int, Hash | None] = dict.fromkeys(range(BASES_MAX), BASE)
    hints = Hints(bases, {1000 + at: bytes(4097) for at in range(11)}, signs=True)
    _, request = asked(pair, hints, hashes)
    assert pair.server.session.hints(request) == hints
