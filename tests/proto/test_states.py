"""The tables, checked for holes."""

from enum import Enum

from forge_p2p.proto.states import (
    ANSWER,
    ANSWER_FRAMES,
    ASK,
    ASK_FRAMES,
    CONTROL_FRAMES,
    SESSION,
    AnswerState,
    AskState,
    SessionState,
    Step,
)
from forge_p2p.wire.data import Data
from forge_p2p.wire.deltas import Deltas
from forge_p2p.wire.fields import Body, FrameType
from forge_p2p.wire.messages import Goodbye


def kinds(table: dict[object, dict[object, object]]) -> set[FrameType]:
    triggers = {trigger for row in table.values() for trigger in row}
    found = {trigger.TYPE for trigger in triggers if isinstance(trigger, type) and issubclass(trigger, Body)}
    raw = {Data: FrameType.DATA, Deltas: FrameType.DELTA}
    return found | {raw[each] for each in (Data, Deltas) if each in triggers}


def test_every_state_has_a_row() -> None:
    for table, states in ((SESSION, SessionState), (ASK, AskState), (ANSWER, AnswerState)):
        assert set(table) == set(states)


def test_frames_read_are_those_the_tables_know() -> None:
    """A frame that a reader lets through has a state it may come in; and the other way round."""
    assert kinds(dict(SESSION)) == set(CONTROL_FRAMES)  # type: ignore[arg-type]
    assert kinds(dict(ASK)) == set(ASK_FRAMES)  # type: ignore[arg-type]
    assert kinds(dict(ANSWER)) == set(ANSWER_FRAMES)  # type: ignore[arg-type]


def test_a_session_can_always_be_left() -> None:
    for state, row in SESSION.items():
        if state not in {SessionState.CLOSED, SessionState.LEAVING}:
            assert row[Step.END] is SessionState.CLOSED
            assert row[Step.LEAVE] in {SessionState.LEAVING, SessionState.CLOSED}
        if state not in {SessionState.CLOSED, SessionState.LEAVING, SessionState.NEW}:
            assert row[Goodbye] is SessionState.CLOSED
    assert not SESSION[SessionState.CLOSED]


def reachable(start: SessionState) -> set[Enum]:
    found: set[Enum] = set()
    todo: list[SessionState] = [start]
    while todo:
        state = todo.pop()
        if state not in found:
            found.add(state)
            todo += SESSION[state].values()
    return found


def test_no_state_of_one_role_leads_into_the_other() -> None:
    client = {SessionState.AWAIT_CHALLENGE, SessionState.AWAIT_VERDICT}
    server = {
        SessionState.AWAIT_HELLO,
        SessionState.AWAIT_PROOF,
        SessionState.AWAIT_CREDENTIALS,
        SessionState.DECIDING,
    }
    assert not reachable(SessionState.AWAIT_CHALLENGE) & server
    assert not reachable(SessionState.AWAIT_HELLO) & client
    assert reachable(SessionState.NEW) == set(SessionState)


def test_ready_needs_every_step() -> None:
    """No way into READY passes over proof, credentials or the verdict."""
    into = {
        (state, trigger)
        for state, row in SESSION.items()
        for trigger, after in row.items()
        if after is SessionState.READY
    }
    assert {state for state, _ in into} == {SessionState.AWAIT_VERDICT, SessionState.DECIDING, SessionState.READY}
    assert (SessionState.DECIDING, Step.ADMIT) in into
