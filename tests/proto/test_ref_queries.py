"""Questions about names in a session: asked and answered by members, and by nobody else."""

import pytest

from forge_p2p.proto.auth import EVERYTHING
from forge_p2p.proto.outputs import QueryReceived, ReplyReceived, RequestCancelled, RequestFailed
from forge_p2p.proto.questions import QUERY_BURST, QUERY_RATE
from forge_p2p.wire.codes import Code
from forge_p2p.wire.messages import Done, FindNode, Nodes, RefQuery, RefReply
from forge_p2p.wire.refs import RefList, RefNames, RefPut, RefRead, RefRecords, RefVerdict
from tests.proto.pair import (
    NETWORKED,
    SEEDS,
    Door,
    Pair,
    assert_answered,
    assert_only_fitting_replies,
    client_session,
    members,
    server_session,
)

HASH = bytes(range(32))
PUT = RefPut(b"record")
READ = RefRead("nightly", 3, 64)
LIST = RefList("", 128)
CONVERSATIONS: list[tuple[RefQuery, RefReply]] = [
    (PUT, RefVerdict(b"")),
    (PUT, RefVerdict(b"another")),
    (READ, RefRecords(4, HASH, (b"3", b"4"))),
    (READ, RefRecords(0, bytes(32), ())),
    (LIST, RefNames(("a", "b/c"))),
]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("query", "reply"), CONVERSATIONS, ids=lambda value: type(value).__name__)
def test_query_and_reply(seed: int | None, query: RefQuery, reply: RefReply) -> None:
    assert_answered(members(seed), query, reply)


def test_reply_must_fit_its_query() -> None:
    assert_only_fitting_replies(CONVERSATIONS, [Nodes.of([])])


@pytest.mark.parametrize("code", [Code.READ_ONLY, Code.NOT_HOME, Code.REJECTED, Code.BUSY, Code.STORE])
@pytest.mark.parametrize("query", [PUT, READ, LIST], ids=lambda query: type(query).__name__)
def test_why_it_was_turned_down_is_told(query: RefQuery, code: Code) -> None:
    pair = members()
    request = pair.client.query(query)
    pair.run()
    pair.server.session.finish(request, code, "because", 0.0)
    pair.run()
    assert pair.client.events == [ReplyReceived(request, Done(code, "because"))]
    assert pair.client.session.next_deadline() is None


def test_codes_about_names_are_not_worth_a_second_try() -> None:
    assert not any(code.retryable for code in (Code.READ_ONLY, Code.NOT_HOME, Code.REJECTED))


@pytest.mark.parametrize("query", [PUT, READ, LIST], ids=lambda query: type(query).__name__)
def test_who_is_no_member_is_not_asked_and_not_answered(query: RefQuery) -> None:
    client = client_session(scope=EVERYTHING, config=NETWORKED)
    pair = Pair(client, server_session(Door(EVERYTHING), config=NETWORKED)).start().run()
    for end in (pair.client, pair.server):
        end.events.clear()
        request = end.query(query)
        pair.run()
        assert end.events == [RequestFailed(request, Code.DENIED, "the peer is no member of the network", False)]


def test_a_question_ends_with_its_deadline() -> None:
    pair = members()
    request = pair.client.query(READ, deadline=3.0)
    pair.run().advance(4.0)
    assert pair.client.events == [RequestFailed(request, Code.DEADLINE, "the deadline passed", True)]
    assert pair.server.events == [QueryReceived(request, READ), RequestCancelled(request)]


def test_too_many_questions_are_busy_work_and_leave_the_dht_alone() -> None:
    pair = members()
    for _ in range(100):
        pair.client.query(READ)
    while pair.step():
        for event in pair.server.of(QueryReceived):
            pair.server.session.reply(event.request_id, RefRecords(0, HASH, ()), 0.0)
    answers = [event.message for event in pair.client.of(ReplyReceived)]
    assert sum(isinstance(answer, RefRecords) for answer in answers) == QUERY_BURST
    assert {answer.code for answer in answers if isinstance(answer, Done)} == {Code.BUSY}
    pair.server.events.clear()
    pair.client.query(FindNode(bytes(20)))
    pair.run()
    assert len(pair.server.of(QueryReceived)) == 1
    pair.server.events.clear()
    pair.advance(1.0)
    for _ in range(100):
        pair.client.query(READ, pair.now)
    pair.run()
    assert len(pair.server.of(QueryReceived)) == QUERY_RATE
