"""`docs/protocol.md` says what the code does."""

import re
from enum import Enum
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forge_p2p.ids import NodeId
from forge_p2p.proto import answering, asking, news, questions, session, telling
from forge_p2p.proto.auth import proof_holds
from forge_p2p.proto.hello import SessionConfig
from forge_p2p.proto.states import ANSWER, ANSWER_FRAMES, ASK, ASK_FRAMES, CONTROL_FRAMES, SESSION, SessionState, Step
from forge_p2p.wire import limits
from forge_p2p.wire.bodies import FRAME_LIMITS
from forge_p2p.wire.codes import Code
from forge_p2p.wire.data import Data
from forge_p2p.wire.deltas import Deltas
from forge_p2p.wire.fields import Body, FrameType
from forge_p2p.wire.frames import FrameReader
from tests.wire.test_messages import EXAMPLES

DOCUMENT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text("utf-8")


def table(heading: str, columns: str) -> list[list[str]]:
    """The rows of the table that begins with these columns, under a heading."""
    section = DOCUMENT.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = section.split(f"| {columns} |\n")[1].split("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_frame_types() -> None:
    rows = table("Frames", "type | frame | longest body | where | fields")
    assert {(int(row[0], 16), row[1], int(row[2])) for row in rows} == {
        (int(kind), kind.name, FRAME_LIMITS[kind]) for kind in FrameType
    }
    for kind, _, _, where, _ in rows:
        side = CONTROL_FRAMES if "control" in where else ASK_FRAMES if "answerer" in where else ANSWER_FRAMES
        assert int(kind, 16) in side


def test_codes() -> None:
    assert [(int(row[0]), row[1]) for row in table("Codes", "code | name | meaning")] == [
        (int(code), code.name) for code in Code
    ]
    again = DOCUMENT.split("It is worth asking the same peer again after ")[1].split(".\n")[0]
    assert set(re.findall("[A-Z]+", again)) == {code.name for code in Code if code.retryable}


def moves(rows: list[list[str]]) -> set[tuple[str, str, str]]:
    found = set()
    names: list[str] = []
    for state, frames, after in rows:
        names = re.findall("[A-Z_]+", state) or names
        found |= {(name, frame, after) for name in names for frame in re.findall("[A-Z_]+", frames)}
    return found


def named(frame: type) -> str:
    return frame.TYPE.name if issubclass(frame, Body) else {Data: "DATA", Deltas: "DELTA"}[frame]


def names(states: dict[Enum, dict[object, Enum]]) -> set[tuple[str, str, str]]:
    return {
        (state.name, named(frame), after.name)
        for state, row in states.items()
        for frame, after in row.items()
        if isinstance(frame, type)
    }


def test_states() -> None:
    assert moves(table("Session", "state | may come | next")) == names(dict(SESSION))  # type: ignore[arg-type]
    assert moves(table("Requests", "asker's state | may come | next")) == names(dict(ASK))  # type: ignore[arg-type]
    assert moves(table("Requests", "answerer's state | may come | next")) == names(dict(ANSWER))  # type: ignore[arg-type]
    assert SESSION[SessionState.DECIDING][Step.ADMIT] is SessionState.READY


def test_timeouts() -> None:
    seconds = [row[1] for row in table("Timeouts", "what | seconds | then")]
    config = SessionConfig()
    assert seconds == [
        f"{config.hello_timeout:g}",
        f"{answering.OPENED_TIMEOUT:g}",
        f"as asked, at most {limits.DEADLINE_MS_MAX // 1000}",
        f"{config.stall_timeout:g}",
        f"{asking.TAIL_TIMEOUT:g}",
        f"{session.LINGER:g}",
    ]


def test_limits() -> None:
    rows = {row[0]: row[1] for row in table("Limits", "what | limit")}
    assert rows["hashes in a request"] == str(limits.HASHES_MAX)
    assert rows["raw bytes in a WANT"] == str(limits.WANT_BYTES_MAX)
    assert rows["raw bytes of a chunk"] == str(limits.CHUNK_SIZE_MAX)
    bases = f"{limits.BASES_MAX}, and {limits.BASES_MAX} of {limits.SIGNATURES_BYTES} bytes together"
    assert rows["bases, and signatures, in a WANT"] == bases
    assert rows["open requests but FOLLOWs"].endswith(str(limits.REQUEST_LIMIT))
    assert rows["raw bytes in all open WANTs"] == str(limits.ANSWER_BYTES_MAX)
    assert rows["control stream before WELCOME"] == f"{limits.HELLO_BYTES_MAX} bytes"
    early = f"{limits.EARLY_STREAMS_MAX} streams, {limits.EARLY_BYTES_MAX} bytes together"
    assert rows["request streams before WELCOME"] == early
    control = f"{session.CONTROL_BURST:g} at once, {session.CONTROL_RATE:g} a second"
    assert rows["frames on the control stream, unknown ones included"] == control
    assert rows["requests aborted"] == f"{answering.CANCEL_BURST:g} at once, {answering.CANCEL_RATE:g} a second"
    assert rows["NEWS among them"] == f"{news.HEARD_BURST:g} at once, {news.HEARD_RATE:g} a second"
    assert news.NEWS_RATE * limits.TOLERANCE == news.HEARD_RATE
    assert news.NEWS_BURST + 1 == 2
    pieces = f"two frames\nof {news.PIECE // 1024} KiB go out at once and {news.NEWS_RATE:g} a second after that"
    assert pieces in DOCUMENT
    assert rows["items of one NEWS"] == f"{limits.NEWS_BYTES_MAX} bytes together"
    rate, burst = (limits.TOLERANCE * value for value in (telling.TELL_RATE, telling.TELL_BURST))
    cost = f"where a frame counts for {telling.FRAME_COST} more than it has"
    told = f"{burst:.0f} bytes at once, {rate:.0f} a second, {cost}"
    assert rows["HOLDINGS and FOLLOWERS of all FOLLOWs"] == told
    follows = limits.FOLLOWS_MAX
    assert f"At most {follows} FOLLOWs are open in one direction; the answerer tolerates {2 * follows}" in DOCUMENT
    queries = f"beyond {questions.QUERY_BURST:g} at once and {questions.QUERY_RATE:g} a second are answered with BUSY"
    assert queries in DOCUMENT
    summaries = f"SUMMARY_QUERYs beyond {questions.SUMMARY_BURST:g} at once and one in {1 / questions.SUMMARY_RATE:g} s"
    assert summaries in DOCUMENT
    withheld = f"more than {limits.WITHHELD_LEAST:,} chunks"
    assert withheld in DOCUMENT
    lookups = f"{answering.LOOKUP_BURST:,.0f} hashes at once and {answering.LOOKUP_RATE:,.0f} a second"
    assert lookups in DOCUMENT
    assert f"{limits.UNKNOWN_MAX:,} bytes" in DOCUMENT
    assert f"at most {limits.UNKNOWN_FRAMES_MAX} of them" in DOCUMENT
    assert limits.TOLERANCE == 2


def test_vectors() -> None:
    section = DOCUMENT.split("## Vectors\n")[1]
    found = re.findall(r"^    ([A-Z_]+)\b.*\n      (.*)$", section, re.MULTILINE)
    plain = {"ID": bytes(range(32)).hex(), "HASH": bytes(range(32, 64)).hex(), "KEY": bytes(range(20)).hex()}
    forms = [re.sub("ID|HASH|KEY", lambda name: plain[name[0]], form) for _, form in found]
    heard = [message for form in forms for message in FrameReader().feed(bytes.fromhex(form))]
    assert [name for name, _ in found] == [named(type(message)) for message in heard]
    plain_ones = [message for message in heard if isinstance(message, Body)]
    assert sorted(plain_ones, key=repr) == sorted([message for message, _ in EXAMPLES], key=repr)
    assert {message.rows[0][:3] for message in heard if isinstance(message, Deltas)} == {(3, 1, 300)}
    assert {message.rows[1][:3] for message in heard if isinstance(message, Data)} == {(300, 2, 70_000)}


def test_signature() -> None:
    def node(first: int) -> NodeId:
        key = Ed25519PrivateKey.from_private_bytes(bytes(range(first, first + 32)))
        return NodeId(key.public_key().public_bytes_raw())

    signature = bytes.fromhex("".join(DOCUMENT.split("over the proof text")[1].split(":\n")[1].split()))
    assert proof_holds(node(32), bytes(range(64, 96)), node(0), signature)
