"""The states of a session and of its requests, and what may come in each.

What a table does not list is a breach: the session that received it ends with `Code.OUT_OF_STATE`.
"""

from collections.abc import Mapping
from enum import Enum

from forge_p2p.errors import PeerError
from forge_p2p.wire.bodies import FRAME_LIMITS
from forge_p2p.wire.codes import Code
from forge_p2p.wire.data import Data
from forge_p2p.wire.deltas import Deltas
from forge_p2p.wire.fields import FrameType
from forge_p2p.wire.messages import (
    Announce,
    Baseless,
    Credentials,
    Done,
    FindNode,
    FindProviders,
    Follow,
    Followers,
    Goodbye,
    Have,
    HaveQuery,
    Hello,
    Holdings,
    Message,
    Missing,
    News,
    Nodes,
    Ping,
    Pong,
    Proof,
    Providers,
    Refused,
    Want,
    Welcome,
)
from forge_p2p.wire.refs import RefList, RefNames, RefPut, RefRead, RefRecords, RefVerdict
from forge_p2p.wire.sets import Reconcile, Reconciled, SummaryQuery, SummaryTold


class Breach(PeerError):
    """The peer broke the protocol. Never leaves the session."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class SessionState(Enum):
    NEW = "new"
    AWAIT_CHALLENGE = "client: hello sent"
    AWAIT_VERDICT = "client: proof sent"
    AWAIT_HELLO = "server: nothing heard yet"
    AWAIT_PROOF = "server: nonce sent"
    AWAIT_CREDENTIALS = "server: proof holds"
    DECIDING = "server: decision pending"
    READY = "ready"
    LEAVING = "last words sent"
    CLOSED = "closed"


class Step(Enum):
    """What moves a session on from this side."""

    CONNECT = "start as client"
    ACCEPT = "start as server"
    ADMIT = "let the client in"
    REFUSE = "send it away"
    LEAVE = "close"
    END = "connection lost, breach, or lingered long enough"


Trigger = type[Message] | Step

_S = SessionState

SESSION: Mapping[SessionState, Mapping[Trigger, SessionState]] = {
    _S.NEW: {Step.CONNECT: _S.AWAIT_CHALLENGE, Step.ACCEPT: _S.AWAIT_HELLO, Step.LEAVE: _S.CLOSED, Step.END: _S.CLOSED},
    _S.AWAIT_CHALLENGE: {
        Hello: _S.AWAIT_VERDICT,
        Refused: _S.CLOSED,
        Goodbye: _S.CLOSED,
        Step.LEAVE: _S.LEAVING,
        Step.END: _S.CLOSED,
    },
    _S.AWAIT_VERDICT: {
        Welcome: _S.READY,
        Refused: _S.CLOSED,
        Goodbye: _S.CLOSED,
        Step.LEAVE: _S.LEAVING,
        Step.END: _S.CLOSED,
    },
    _S.AWAIT_HELLO: {Hello: _S.AWAIT_PROOF, Goodbye: _S.CLOSED, Step.LEAVE: _S.LEAVING, Step.END: _S.CLOSED},
    _S.AWAIT_PROOF: {
        Proof: _S.AWAIT_CREDENTIALS,
        Goodbye: _S.CLOSED,
        Step.REFUSE: _S.LEAVING,
        Step.LEAVE: _S.LEAVING,
        Step.END: _S.CLOSED,
    },
    _S.AWAIT_CREDENTIALS: {
        Credentials: _S.DECIDING,
        Goodbye: _S.CLOSED,
        Step.REFUSE: _S.LEAVING,
        Step.LEAVE: _S.LEAVING,
        Step.END: _S.CLOSED,
    },
    _S.DECIDING: {
        Goodbye: _S.CLOSED,
        Step.ADMIT: _S.READY,
        Step.REFUSE: _S.LEAVING,
        Step.LEAVE: _S.LEAVING,
        Step.END: _S.CLOSED,
    },
    _S.READY: {
        Ping: _S.READY,
        Pong: _S.READY,
        News: _S.READY,
        Goodbye: _S.CLOSED,
        Step.LEAVE: _S.LEAVING,
        Step.END: _S.CLOSED,
    },
    _S.LEAVING: {Step.END: _S.CLOSED},
    _S.CLOSED: {},
}
"""In LEAVING and CLOSED everything that comes in is dropped unread."""


class AskState(Enum):
    """A request of ours."""

    HELD = "not sent yet: no verdict, or the peer has no room"
    WANTED = "WANT sent"
    QUERIED = "HAVE_QUERY sent"
    NODES_SOUGHT = "FIND_NODE sent"
    PROVIDERS_SOUGHT = "FIND_PROVIDERS sent"
    ANNOUNCED = "ANNOUNCE sent"
    PUTTING = "REF_PUT sent"
    READING = "REF_READ sent"
    LISTING = "REF_LIST sent"
    SUMMARISING = "SUMMARY_QUERY sent"
    RECONCILING = "RECONCILE sent"
    FOLLOWING = "FOLLOW sent"
    ENDED = "last frame received, the stream's end is yet to come"
    LATE = "given up; what is still under way is dropped"


ASK: Mapping[AskState, Mapping[type[Message], AskState]] = {
    AskState.HELD: {},
    AskState.WANTED: {
        Data: AskState.WANTED,
        Deltas: AskState.WANTED,
        Missing: AskState.WANTED,
        Baseless: AskState.WANTED,
        Done: AskState.ENDED,
    },
    AskState.QUERIED: {Have: AskState.ENDED, Done: AskState.ENDED},
    AskState.NODES_SOUGHT: {Nodes: AskState.ENDED, Done: AskState.ENDED},
    AskState.PROVIDERS_SOUGHT: {Providers: AskState.ENDED, Done: AskState.ENDED},
    AskState.ANNOUNCED: {Done: AskState.ENDED},
    AskState.PUTTING: {RefVerdict: AskState.ENDED, Done: AskState.ENDED},
    AskState.READING: {RefRecords: AskState.ENDED, Done: AskState.ENDED},
    AskState.LISTING: {RefNames: AskState.ENDED, Done: AskState.ENDED},
    AskState.SUMMARISING: {SummaryTold: AskState.ENDED, Done: AskState.ENDED},
    AskState.RECONCILING: {Reconciled: AskState.ENDED, Done: AskState.ENDED},
    AskState.FOLLOWING: {
        Holdings: AskState.FOLLOWING,
        Followers: AskState.FOLLOWING,
        Done: AskState.ENDED,
    },
    AskState.ENDED: {},
    AskState.LATE: {},
}


class AnswerState(Enum):
    """A request of the peer's."""

    OPENED = "stream seen, request not complete"
    HELD = "request complete, no verdict about the client yet"
    SERVING = "WANT: some indexes not answered"
    LOOKING = "HAVE_QUERY: bitmap not sent"
    ASKED = "a question about nodes, providers, names or sets: reply not sent"
    FOLLOWED = "FOLLOW: told of what is here"
    ANSWERED = "our end of the stream is closed"


ANSWER: Mapping[AnswerState, Mapping[type[Message], AnswerState]] = {
    AnswerState.OPENED: {
        Want: AnswerState.SERVING,
        HaveQuery: AnswerState.LOOKING,
        FindNode: AnswerState.ASKED,
        FindProviders: AnswerState.ASKED,
        Announce: AnswerState.ASKED,
        RefPut: AnswerState.ASKED,
        RefRead: AnswerState.ASKED,
        RefList: AnswerState.ASKED,
        SummaryQuery: AnswerState.ASKED,
        Reconcile: AnswerState.ASKED,
        Follow: AnswerState.FOLLOWED,
    },
    AnswerState.HELD: {},
    AnswerState.SERVING: {},
    AnswerState.LOOKING: {},
    AnswerState.ASKED: {},
    AnswerState.FOLLOWED: {},
    AnswerState.ANSWERED: {},
}


def frames(*types: FrameType) -> dict[int, int]:
    """The length limits of these types alone, for a `FrameReader`."""
    return {int(kind): FRAME_LIMITS[kind] for kind in types}


CONTROL_FRAMES = frames(*(kind for kind in FrameType if kind < FrameType.WANT))
CHUNK_FRAMES = frames(FrameType.DATA, FrameType.MISSING, FrameType.DONE, FrameType.HAVE)
DELTA_FRAMES = frames(FrameType.DELTA, FrameType.BASELESS)
"""May come besides where bases were named."""
REPLY_FRAMES = frames(FrameType.NODES, FrameType.PROVIDERS, FrameType.DONE)
REF_FRAMES = frames(FrameType.REF_VERDICT, FrameType.REF_RECORDS, FrameType.REF_NAMES, FrameType.DONE)
SET_FRAMES = frames(FrameType.SUMMARY, FrameType.RECONCILED, FrameType.DONE)
TOLD_FRAMES = frames(FrameType.HOLDINGS, FrameType.FOLLOWERS, FrameType.DONE)
ASK_FRAMES = CHUNK_FRAMES | DELTA_FRAMES | REPLY_FRAMES | REF_FRAMES | SET_FRAMES | TOLD_FRAMES
"""What answers are made of: to requests for chunks, to queries of the DHT, about names and sets, to a FOLLOW."""
ANSWER_FRAMES = frames(
    FrameType.WANT,
    FrameType.HAVE_QUERY,
    FrameType.FIND_NODE,
    FrameType.FIND_PROVIDERS,
    FrameType.ANNOUNCE,
    FrameType.REF_PUT,
    FrameType.REF_READ,
    FrameType.REF_LIST,
    FrameType.SUMMARY_QUERY,
    FrameType.RECONCILE,
    FrameType.FOLLOW,
)


class Timer(Enum):
    """What a session waits for; keyed with a stream's id."""

    HELLO = "the hello, up to the verdict"
    LINGER = "the peer closing after our last words"
    ASK = "a request of ours, until its deadline"
    TAIL = "the end of a stream on which all has been said"
    OPENED = "a request of the peer's, to be complete"
    ANSWER = "our answer, until its deadline"
    LOOKUP = "a HAVE_QUERY whose turn has not come"
    TELL = "what those who follow here are told, when the rate allows more"
    NEWS = "news that wait until the rate allows more"


TimerKey = tuple[Timer, int]
