"""Questions about what a node has, in a session: asked and answered by members, and by nobody else."""

import pytest

from forge_p2p.content.reconcile import Answer, Question
from forge_p2p.proto.auth import EVERYTHING
from forge_p2p.proto.outputs import (
    AbortStream,
    FollowReceived,
    PeerGone,
    QueryReceived,
    RequestFailed,
    ToldOf,
)
from forge_p2p.proto.questions import SUMMARY_BURST, SUMMARY_RATE
from forge_p2p.proto.telling import Telling
from forge_p2p.proto.timers import Deadlines
from forge_p2p.wire import limits
from forge_p2p.wire.codes import Code
from forge_p2p.wire.fields import Body
from forge_p2p.wire.frames import encode_frame
from forge_p2p.wire.messages import Follow, Holdings, Nodes, SetQuery, SetReply
from forge_p2p.wire.sets import Reconcile, Reconciled, SummaryQuery, SummaryTold
from tests.proto.pair import (
    NETWORKED,
    Door,
    Pair,
    assert_answered,
    assert_only_fitting_replies,
    client_session,
    members,
    server_session,
)

ROOT = bytes(range(32))
SUMMARY = SummaryQuery(0, 0, 1 << 20)
RECONCILE = Reconcile(ROOT, Question(ROOT, ("0", "1f"), ()))
LARGE = SummaryTold(3, 0, bytes(limits.SUMMARY_BYTES_MAX), bytes(limits.SUMMARY_ADDED_MAX))
CONVERSATIONS: list[tuple[SetQuery, SetReply]] = [
    (SUMMARY, SummaryTold(3, 0, b"bits", b"")),
    (SUMMARY, LARGE),
    (SummaryQuery(3, 5, 100), SummaryTold(3, 6, b"", bytes(8))),
    (RECONCILE, Reconciled(Answer((b"\x01", b"\x01"), b""))),
]


@pytest.mark.parametrize("seed", [None, 1, 2])
@pytest.mark.parametrize(("query", "reply"), CONVERSATIONS, ids=lambda value: type(value).__name__)
def test_query_and_reply(seed: int | None, query: SetQuery, reply: SetReply) -> None:
    assert_answered(members(seed), query, reply)


def test_reply_must_fit_its_query() -> None:
    assert_only_fitting_replies(CONVERSATIONS, [Nodes.of([])])


@pytest.mark.parametrize("code", [Code.BUDGET, Code.BUSY, Code.STORE])
def test_being_turned_down_is_a_failure_with_a_code(code: Code) -> None:
    pair = members()
    for query in (SUMMARY, RECONCILE):
        request = pair.client.query(query)
        pair.run()
        pair.server.session.finish(request, code, "because", 0.0)
        pair.run()
        assert pair.client.of(RequestFailed)[-1] == RequestFailed(request, code, "because", code.retryable)


@pytest.mark.parametrize("query", [SUMMARY, RECONCILE], ids=lambda query: type(query).__name__)
def test_who_is_no_member_is_not_asked_and_not_answered(query: SetQuery) -> None:
    client = client_session(scope=EVERYTHING, config=NETWORKED)
    pair = Pair(client, server_session(Door(EVERYTHING), config=NETWORKED)).start().run()
    for end in (pair.client, pair.server):
        end.events.clear()
        request = end.query(query)
        pair.run()
        assert end.events == [RequestFailed(request, Code.DENIED, "the peer is no member of the network", False)]


def test_summaries_are_asked_for_seldom() -> None:
    pair = members()
    for _ in range(12):
        pair.client.query(SUMMARY)
    pair.run()
    assert len(pair.server.of(QueryReceived)) == SUMMARY_BURST
    assert {failed.code for failed in pair.client.of(RequestFailed)} == {Code.BUSY}
    for event in pair.server.of(QueryReceived):
        pair.server.session.finish(event.request_id, Code.BUDGET, "", 0.0)
    pair.server.events.clear()
    pair.advance(2 / SUMMARY_RATE)
    for _ in range(5):
        pair.client.query(SUMMARY, pair.now)
    pair.run()
    assert len(pair.server.of(QueryReceived)) == 2


def test_an_answer_that_comes_too_late_is_no_breach() -> None:
    pair = members()
    request = pair.client.query(SUMMARY)
    pair.run()
    pair.client.session.cancel(request, 0.0)
    pair.server.session.reply(request, LARGE, 0.0)
    data = encode_frame(LARGE)
    pair.client.session.receive_stream(request, data, True, 0.0)
    outputs = pair.client.session.take()
    assert any(isinstance(each, AbortStream) for each in outputs)
    assert not any(isinstance(each, PeerGone) for each in outputs)


@pytest.mark.parametrize(
    "wrong",
    [
        Reconciled(Answer((b"\x01",), b"")),
        Nodes.of([]),
        b"\x21" + (limits.SUMMARY_FRAME_MAX + 1 | 0x8000_0000).to_bytes(4, "big"),
    ],
    ids=["another answer", "a node's", "too long"],
)
def test_what_is_no_answer_ends_the_session(wrong: Body | bytes) -> None:
    pair = members()
    request = pair.client.query(SUMMARY)
    pair.run()
    data = wrong if isinstance(wrong, bytes) else encode_frame(wrong)
    pair.client.session.receive_stream(request, data, False, 0.0)
    assert any(isinstance(each, PeerGone) for each in pair.client.session.take())


def test_what_is_withheld_is_said_once_and_not_when_all_is_there() -> None:
    pair = members()
    follow = Follow.of(ROOT, (), True, withhold=True)
    request = pair.client.follow(follow)
    pair.run()
    assert pair.server.events == [FollowReceived(request, follow)]
    tell = pair.server.session.tell
    tell(request, Holdings(False, False, b"", withheld=5000), 0.0)
    tell(request, Holdings(False, False, ROOT[:8]), 0.0)
    pair.run()
    said = [event.message for event in pair.client.of(ToldOf)]
    assert [each.withheld for each in said if isinstance(each, Holdings)] == [5000, 0]
    pair.client.events.clear()
    telling = Telling([], Deadlines())
    telling.open(1)
    for _ in range(200):  # more than may be said at once is gathered: what was withheld is not forgotten
        telling.tell(1, Holdings(False, False, bytes(65_536)), 0.0)
    telling.tell(1, Holdings(False, False, b"", withheld=7), 0.0)
    telling.tell(1, Holdings(False, False, ROOT[:8]), 0.0)
    assert telling._followers[1].withheld == 7
    telling.tell(1, Holdings(True, False, b""), 0.0)
    assert telling._followers[1].next() == Holdings(True, False, b"")
