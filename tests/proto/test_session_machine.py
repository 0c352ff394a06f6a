"""Two honest sessions, whatever they do and however it arrives: nobody is ever blamed, and every request ends once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from forge_p2p.proto.hello import NETWORK, SessionConfig
from forge_p2p.proto.outputs import (
    ChunksReceived,
    FollowReceived,
    HaveQueryReceived,
    HaveReceived,
    NewsReceived,
    PeerGone,
    QueryReceived,
    Ready,
    ReplyReceived,
    RequestCancelled,
    RequestDone,
    RequestFailed,
    RequestMissing,
    RequestReceived,
    ToldOf,
)
from forge_p2p.proto.states import SessionState
from forge_p2p.wire.codes import Code
from forge_p2p.wire.messages import (
    Announce,
    Done,
    FindNode,
    FindProviders,
    Follow,
    Holdings,
    Nodes,
    Providers,
    Query,
    Reply,
)
from tests.proto.pair import MEMBER, Door, End, Pair, client_session, make_chunk, server_session

CHUNKS = [make_chunk(size, seed) for seed in range(3) for size in (0, 10, 3000, 40_000)]
HERE = {chunk.hash: chunk for chunk in CHUNKS[::2]}
CONFIG = SessionConfig(capabilities=frozenset({NETWORK}), max_requests=4, stall_timeout=50.0)
KEY = bytes(20)
OTHER = {"client": "server", "server": "client"}
QUERIES: dict[Query, Reply] = {
    FindNode(KEY): Nodes.of([]),
    FindProviders(KEY): Providers.of([], []),
    Announce.of(KEY, 60, ()): Done(Code.OK, ""),
}
FOLLOW = Follow.of(bytes(32), (), False)

sides = st.sampled_from(["client", "server"])
picks = st.lists(st.integers(0, len(CHUNKS) - 1), min_size=1, max_size=20)


@dataclass
class Asked:
    room: int
    count: int
    cancelled: bool = False
    follow: bool = False


class SessionMachine(RuleBasedStateMachine):
    """Commands in any order, bytes in any pieces, time in any steps."""

    @initialize(seed=st.integers(0, 2**32))
    def connect(self, seed: int) -> None:
        server = server_session(Door(MEMBER), config=CONFIG)
        self.pair = Pair(client_session(scope=None, config=CONFIG), server, seed)
        self.said = {"client": 0, "server": 0}
        self.told: Counter[tuple[str, int]] = Counter()
        self.asked: dict[tuple[str, int], Asked] = {}
        for end in self.ends.values():
            end.batch = 0
        self.pair.start()

    @property
    def ends(self) -> dict[str, End]:
        return {"client": self.pair.client, "server": self.pair.server}

    @rule(side=sides, chunks=picks, tight=st.booleans(), patience=st.floats(0.1, 100))
    def want(self, side: str, chunks: list[int], tight: bool, patience: float) -> None:
        hashes = [CHUNKS[number].hash for number in chunks]
        room = 20_000 if tight else 4 << 20
        request = self.ends[side].want(hashes, self.pair.now, max_bytes=room, deadline=self.pair.now + patience)
        self.asked[side, request] = Asked(room, len(hashes))

    @rule(side=sides, chunks=picks)
    def have(self, side: str, chunks: list[int]) -> None:
        hashes = [CHUNKS[number].hash for number in chunks]
        request = self.ends[side].have(hashes, self.pair.now, deadline=self.pair.now + 30)
        self.asked[side, request] = Asked(0, len(hashes))

    @rule()
    def grant(self) -> None:
        self.pair.client.session.grant(MEMBER, self.pair.now)

    @rule(side=sides, query=st.sampled_from(sorted(QUERIES, key=repr)))
    def query(self, side: str, query: FindNode | FindProviders | Announce) -> None:
        request = self.ends[side].query(query, self.pair.now, deadline=self.pair.now + 30)
        self.asked[side, request] = Asked(0, 0)

    @rule(side=sides)
    def follow(self, side: str) -> None:
        request = self.ends[side].follow(FOLLOW, self.pair.now)
        self.asked[side, request] = Asked(0, 0, follow=True)

    @rule(side=sides, count=st.integers(1, 20_000))
    def tell(self, side: str, count: int) -> None:
        for event in self.ends[side].of(FollowReceived):
            if event.request_id not in self.over(self.ends[side]):
                self.told[side, event.request_id] += count
                self.ends[side].session.tell(event.request_id, Holdings(False, False, bytes(8 * count)), self.pair.now)

    @rule(side=sides, count=st.integers(1, 100))
    def say_news(self, side: str, count: int) -> None:
        end = self.ends[side]
        if end.session.state is SessionState.READY and end.session._gossip._member:
            self.said[side] += count
        end.session.say_news([b"news"] * count, self.pair.now)

    @rule(data=st.data())
    @precondition(lambda self: self.asked)
    def cancel(self, data: st.DataObject) -> None:
        side, request = data.draw(st.sampled_from(sorted(self.asked)))
        self.ends[side].drain(self.pair.now)
        if not self.endings(side)[request]:
            self.asked[side, request].cancelled = True
        self.ends[side].session.cancel(request, self.pair.now)

    @rule(side=sides, count=st.integers(1, 5))
    def answer(self, side: str, count: int) -> None:
        """The next few indexes of every request that is open here."""
        end = self.ends[side]
        for event in end.of(RequestReceived):
            left = self.unanswered(end, event)[:count]
            found = [HERE.get(event.hashes[list(event.indexes).index(index)]) for index in left]
            if left:
                self.answered(end, event).extend(left)
                end.session.answer(event.request_id, left, found, self.pair.now)
        for query in end.of(HaveQueryReceived):
            end.session.answer_have(query.request_id, [chunk in HERE for chunk in query.hashes], self.pair.now)
        for asked in end.of(QueryReceived):
            end.session.reply(asked.request_id, QUERIES[asked.message], self.pair.now)

    @rule(side=sides, code=st.sampled_from([Code.BUSY, Code.STORE, Code.LEAVING]))
    def give_up(self, side: str, code: Code) -> None:
        for event in self.requests(side):
            self.ends[side].session.finish(event.request_id, code, "not now", self.pair.now)

    @rule(steps=st.integers(1, 200))
    def deliver(self, steps: int) -> None:
        for _ in range(steps):
            self.pair.step()

    @rule(seconds=st.floats(0, 15))
    def wait(self, seconds: float) -> None:
        self.pair.now += seconds
        for end in self.ends.values():
            end.session.handle_timeout(self.pair.now)
        if SessionState.READY not in {end.session.state for end in self.ends.values()}:
            self.pair.run()  # before the hello's end, slowness is a reason to part

    @invariant()
    def nobody_is_blamed(self) -> None:
        for end in self.ends.values():
            gone = end.of(PeerGone)
            assert not gone or "no hello within" in gone[0].reason, gone

    @invariant()
    def credit_is_what_is_open(self) -> None:
        for side, end in self.ends.items():
            end.drain(self.pair.now)
            assert (
                0
                <= end.session.outstanding
                <= sum(asked.room for (owner, _), asked in self.asked.items() if owner == side)
            )

    @invariant()
    def a_request_ends_once(self) -> None:
        for side in self.ends:
            for request, times in self.endings(side).items():
                assert times <= (0 if self.asked[side, request].cancelled else 1)

    def teardown(self) -> None:
        if not hasattr(self, "pair"):
            return
        self.pair.run()
        self.grant()
        for _ in range(40):
            self.pair.run()
            for side in self.ends:
                self.answer(side, 20)
        self.pair.advance(200.0)
        self.check_news()
        self.end_follows()
        for side, end in self.ends.items():
            endings = self.endings(side)
            for (owner, request), asked in self.asked.items():
                assert owner != side or endings[request] == (0 if asked.cancelled else 1)
            assert end.session.outstanding == 0
            assert end.session.next_deadline() is None, "nothing is left to wait for"
            self.check_answers(side, end)

    def end_follows(self) -> None:
        """Whatever was told and not cut short has arrived; then all stop following."""
        for (side, request), asked in self.asked.items():
            if not asked.follow:
                continue
            end = self.ends[side]
            heard = [event.message for event in end.of(ToldOf) if event.request_id == request]
            count = sum(len(message.prefixes) // 8 for message in heard if isinstance(message, Holdings))
            assert count <= self.told[OTHER[side], request]
            if not self.endings(side)[request] and not asked.cancelled:
                assert count == self.told[OTHER[side], request]
                asked.cancelled = True
            end.session.cancel(request, self.pair.now)
        self.pair.advance(200.0)

    def check_news(self) -> None:
        for side, said in self.said.items():
            end = self.ends[OTHER[side]]
            heard = sum(len(event.items) for event in end.of(NewsReceived))
            assert heard == said or not end.of(Ready) or end.of(PeerGone)

    def check_answers(self, side: str, end: End) -> None:
        answers: Counter[tuple[int, int]] = Counter()
        for event in end.events:
            if isinstance(event, ChunksReceived | RequestMissing):
                answers.update((event.request_id, index) for index in event.indexes)
            if isinstance(event, ChunksReceived):
                assert all(bytes(chunk.data) == HERE[chunk.hash].data for chunk in event.chunks)
        assert not answers or max(answers.values()) == 1
        for done in end.of(RequestDone):
            assert not self.asked[side, done.request_id].follow, "no follow was ended well"
            assert sum(request == done.request_id for request, _ in answers) == self.asked[side, done.request_id].count

    def endings(self, side: str) -> Counter[int]:
        kinds = RequestDone | RequestFailed | HaveReceived | ReplyReceived
        return Counter(event.request_id for event in self.ends[side].events if isinstance(event, kinds))

    def answered(self, end: End, event: RequestReceived) -> list[int]:
        done: dict[int, list[int]] = end.__dict__.setdefault("done", {})
        return done.setdefault(event.request_id, [])

    def unanswered(self, end: End, event: RequestReceived) -> list[int]:
        over = self.over(end)
        done = set(self.answered(end, event))
        return [index for index in event.indexes if index not in done and event.request_id not in over]

    def requests(self, side: str) -> Sequence[RequestReceived | FollowReceived]:
        return [*self.ends[side].of(RequestReceived)[:3], *self.ends[side].of(FollowReceived)[:1]]

    def over(self, end: End) -> set[int]:
        return {cancelled.request_id for cancelled in end.of(RequestCancelled)}


TestSessionMachine = SessionMachine.TestCase
