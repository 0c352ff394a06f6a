"""Throws bytes at the decoder and at sessions: `python -m tests.wire.fuzz_frames --runs 1000000 [--seed N]`.

Whatever comes in, a reader gives messages or raises `Malformed`, a session carries on or ends itself, and memory stays.
Inputs are valid conversations, mutated; where atheris is installed it drives instead, guided by coverage. The first
byte of an input chooses who gets it, the second how the rest is cut, so any bytes are an input.
"""

import argparse
import importlib
import importlib.util
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator

from forge_p2p.content.codec import Codec, EncodedChunk
from forge_p2p.content.contact import Contact
from forge_p2p.content.delta import DeltaChunk, DeltaForm
from forge_p2p.content.reconcile import HashSet, Question, Reconciliation, answer
from forge_p2p.content.summary import OwnSummary
from forge_p2p.errors import Malformed
from forge_p2p.ids import Hash
from forge_p2p.proto.hints import Hints
from forge_p2p.proto.outputs import CloseConnection
from forge_p2p.proto.session import Session
from forge_p2p.proto.states import ANSWER_FRAMES, ASK_FRAMES, CONTROL_FRAMES, SessionState
from forge_p2p.wire import messages, sets
from forge_p2p.wire.bodies import FRAME_LIMITS
from forge_p2p.wire.codes import Code
from forge_p2p.wire.frames import FrameReader, encode_data_frame, encode_delta_frame, encode_frame
from forge_p2p.wire.varint import encode_varint
from tests.proto.pair import CLIENT_ID, CLIENT_KEY, NONCE, SERVER_ID, members, server_session

GROWTH_MAX = 64 * 1024 * 1024
"""Bytes the process may grow by after it has warmed up."""
WARM_UP = 2000

_HASH = Hash(bytes(range(32)))
_KEY = bytes(range(20))
_HINTS = Hints({0: _HASH, 1: _HASH}, {2: b"\x08abcd"}, signs=True)
_SOMEBODY = Contact(SERVER_ID, (("192.0.2.1", 4433), ("2001:db8::1", 443)))
_PIECES = (1, 2, 3, 5, 16, 100, 1000, 1 << 20)
_READERS = (FRAME_LIMITS, CONTROL_FRAMES, ASK_FRAMES, ANSWER_FRAMES)


def about_sets() -> list[bytes]:
    """Questions about what a node has, and their answers."""
    here = HashSet.of([bytes([number]) * 8 for number in range(200)], 8)
    first = Reconciliation(here, _HASH).next_question()
    assert first is not None
    both = Question(_HASH, ("0", "10"), (("a", bytes(16)),))
    return [
        encode_frame(sets.SummaryQuery(300, 7, 1 << 20)),
        encode_frame(sets.SummaryTold.of(OwnSummary(1, lambda: range(50), 300).since(0, 0))),
        encode_frame(sets.SummaryTold(300, 9, b"", bytes(80))),
        encode_frame(sets.Reconcile(_HASH, first)) + encode_frame(sets.Reconcile(_HASH, both)),
        encode_frame(sets.Reconciled(answer(here, first))) + encode_frame(sets.Reconciled(answer(here, both))),
    ]


def seeds() -> list[bytes]:
    """Valid streams of every kind."""
    proof = CLIENT_KEY.sign(b"forge/1 client proof\x00" + SERVER_ID + NONCE + CLIENT_ID)
    chunks = [EncodedChunk(_HASH, codec, 40, bytes(40 - 10 * codec)) for codec in Codec]
    hello = encode_frame(messages.Hello(1, 1, ("delta", "sync"), CLIENT_ID, "forge/1", 64, b""))
    want = encode_frame(messages.Want(_HASH * 4, 5, 1000, 100_000))
    answer = b"".join(encode_data_frame([2, 0, 1], chunks))
    hinted = encode_frame(messages.Want(_HASH * 4, 5, 1000, 100_000, False, ((0, _HASH),), ((2, b"\x08abcd"),), True))
    deltas = b"".join(encode_delta_frame([0, 2], [DeltaChunk(_HASH, form, 40, bytes(20)) for form in DeltaForm]))
    return [
        hello + encode_frame(messages.Proof(proof)) + encode_frame(messages.Credentials(b"ticket")),
        hello,
        encode_frame(messages.Hello(1, 1, (), SERVER_ID, "forge/1", 64, NONCE)) + encode_frame(messages.Welcome()),
        encode_frame(messages.Refused(Code.DENIED, "no")),
        encode_frame(messages.Ping(1)) + encode_frame(messages.Pong(2)) + encode_frame(messages.Goodbye(0, "bye")),
        want,
        encode_frame(messages.HaveQuery(_HASH * 9)),
        hinted,
        deltas + encode_frame(messages.Baseless((1, 3))) + encode_frame(messages.Done(0, "")),
        deltas + answer,
        answer + encode_frame(messages.Missing((3,))) + encode_frame(messages.Done(0, "")),
        answer + answer,
        encode_frame(messages.Missing((0, 1, 2, 3))) + encode_frame(messages.Done(Code.BUSY, "later")),
        encode_frame(messages.Have(b"\xf0")),
        encode_frame(messages.News((b"one", b"two" * 100, b""))) * 3,
        encode_frame(messages.FindNode(_KEY)),
        encode_frame(messages.Nodes.of([_SOMEBODY] * 20)),
        encode_frame(messages.FindProviders(_KEY)),
        encode_frame(messages.Providers.of([(_SOMEBODY, 60)] * 3, [_SOMEBODY])),
        encode_frame(messages.Announce.of(_KEY, 600, _SOMEBODY.addresses)),
        encode_frame(messages.Follow.of(_HASH, _SOMEBODY.addresses, True)),
        encode_frame(messages.Holdings(False, True, _HASH)) + encode_frame(messages.Followers.of([_SOMEBODY] * 9)),
        encode_varint(0x3F) + encode_varint(100) + bytes(100) + want,
        *about_sets(),
    ]


def mutated(rng: random.Random, corpus: list[bytes]) -> bytes:
    data = bytearray(rng.choice(corpus))
    for _ in range(rng.randrange(5)):
        rng.choice(_MUTATIONS)(rng, data, corpus)
    return bytes([rng.randrange(256), rng.randrange(256)]) + data


def _flip(rng: random.Random, data: bytearray, corpus: list[bytes]) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _overwrite(rng: random.Random, data: bytearray, corpus: list[bytes]) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.choice((0, 0x7F, 0x80, 0xC0, 0xC4, 0xDC, 0xDD, 0xDF, 0xFF))


def _cut(rng: random.Random, data: bytearray, corpus: list[bytes]) -> None:
    start = rng.randrange(len(data) + 1)
    del data[start : start + rng.randrange(1, 20)]


def _insert(rng: random.Random, data: bytearray, corpus: list[bytes]) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.randbytes(rng.randrange(20))


def _repeat(rng: random.Random, data: bytearray, corpus: list[bytes]) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = data[at : at + 50] * rng.randrange(1, 20)


def _splice(rng: random.Random, data: bytearray, corpus: list[bytes]) -> None:
    data[rng.randrange(len(data) + 1) :] = rng.choice(corpus)


def _huge(rng: random.Random, data: bytearray, corpus: list[bytes]) -> None:
    at = rng.randrange(len(data) + 1)
    data[at : at + 4] = rng.choice((b"\xff" * 8, b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x91" * 3000))


_MUTATIONS: tuple[Callable[[random.Random, bytearray, list[bytes]], None], ...] = (
    _flip, _overwrite, _cut, _insert, _repeat, _splice, _huge,
)  # fmt: skip


class Target:
    """Who gets the inputs. Sessions past their hello are used until an input ends them."""

    def __init__(self) -> None:
        self._ready: Session | None = None
        self._stream_id = 0
        self._hints: Hints | None = None

    def __call__(self, data: bytes) -> None:
        if len(data) < 2:
            return
        who, pieces = data[0], list(_pieces(data[2:], _PIECES[data[1] % len(_PIECES)]))
        if who < 140:
            _read(FrameReader(_READERS[who % len(_READERS)]), pieces)
        elif who < 156:
            _greet(pieces)
        else:
            self._talk(who, pieces)

    def _talk(self, who: int, pieces: list[bytes]) -> None:
        session = self._ready = self._ready or members().client.session
        stream_id = self._open(session, who % 11)
        for piece in pieces:
            session.receive_stream(stream_id, piece, False, 1.0)
        if who % 11:  # all but the control stream
            session.receive_stream(stream_id, b"", who % 2 == 0, 2.0)
            session.stream_aborted(stream_id, 2.0)
        if who % 7 == 0:
            session.handle_timeout(100.0)
        if session.state is SessionState.CLOSED:
            assert isinstance(session.take()[-1], CloseConnection)
            self._ready = None
        session.take()

    def _open(self, session: Session, topic: int) -> int:
        """A stream with a request of the session's, or one that the peer opens, or the control stream."""
        self._stream_id += 4
        stream_id = self._stream_id
        if topic == 0:
            return 0
        if topic == 1:
            session.want(stream_id, [_HASH] * 4, max_bytes=200, deadline=5.0, now=0.0, hints=self._hints)
            self._hints = None if self._hints else _HINTS
        elif topic == 2:
            session.have(stream_id, [_HASH] * 4, deadline=5.0, now=0.0)
        elif topic == 3:
            session.query(stream_id, messages.FindNode(_KEY), deadline=5.0, now=0.0)
        elif topic == 4:
            session.query(stream_id, messages.FindProviders(_KEY), deadline=5.0, now=0.0)
        elif topic == 5:
            session.follow(stream_id, messages.Follow.of(_HASH, (), False), 0.0)
        elif topic == 6:
            session.query(stream_id, sets.SummaryQuery(0, 0, 1 << 20), deadline=5.0, now=0.0)
        elif topic == 7:
            session.query(stream_id, sets.Reconcile(_HASH, Question(_HASH, ("0",), ())), deadline=5.0, now=0.0)
        else:
            return stream_id + 1
        return stream_id


def _pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def _read(reader: FrameReader, pieces: list[bytes]) -> None:
    try:
        for piece in pieces:
            reader.feed(piece)
    except Malformed:
        pass


def _greet(pieces: list[bytes]) -> None:
    server = server_session()
    server.start(0.0)
    for piece in pieces:
        server.receive_stream(0, piece, False, 0.0)
    server.handle_timeout(100.0)
    server.handle_timeout(200.0)
    assert server.state in {SessionState.CLOSED, SessionState.READY}


def peak_memory() -> int:
    """Of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def fuzz(runs: int, seed: int) -> None:
    """Raises what a target raises, or `AssertionError` when memory grew too far, naming seed and run."""
    rng = random.Random(seed)
    corpus, target = seeds(), Target()
    before = 0
    for run in range(runs):
        data = mutated(rng, corpus)
        if run == WARM_UP:
            before = peak_memory()
        try:
            target(data)
        except Exception as error:
            error.add_note(f"seed {seed}, run {run}, input {data.hex()}")
            raise
    grown = peak_memory() - before
    assert not before or grown < GROWTH_MAX, f"seed {seed}: memory grew by {grown} bytes in {runs} runs"


def fuzz_guided(runs: int, seed: int) -> None:
    """As `fuzz`, driven by atheris, which ends the process."""
    atheris = importlib.import_module("atheris")
    corpus = seeds()

    def mutate(data: bytes, max_size: int, number: int) -> bytes:
        if len(data) < 3 or number % 16 == 0:
            return mutated(random.Random(number), corpus)[:max_size]
        changed: bytes = atheris.Mutate(data, max_size)
        return changed

    atheris.instrument_all()
    limit = (peak_memory() + 4 * GROWTH_MAX) >> 20  # what it keeps of its own counts too
    options = [f"-runs={runs}", f"-seed={seed}", f"-rss_limit_mb={limit}", "-max_len=8192"]
    atheris.Setup([sys.argv[0], *options], Target(), custom_mutator=mutate)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description="Fuzz the decoder of what strangers send.")
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--plain", action="store_true", help="mutate blindly even if atheris is installed")
    arguments = parser.parse_args()
    guided = importlib.util.find_spec("atheris") is not None and not arguments.plain
    say = sys.stdout.write
    say(f"{arguments.runs} runs, seed {arguments.seed}, {'atheris' if guided else 'mutations'}\n")
    sys.stdout.flush()
    started = time.perf_counter()
    (fuzz_guided if guided else fuzz)(arguments.runs, arguments.seed)
    say(f"no fault; {time.perf_counter() - started:.1f} s, peak {peak_memory() >> 20} MiB\n")


if __name__ == "__main__":
    main()
