"""Two honest sessions, whatever they do and however it arrives: nobody is ever blamed, and every request ends once."""

from collections import Counter
from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from forge_p2p.proto.hello import SessionConfig
from forge_p2p.proto.outputs import (
    ChunksReceived,
    HaveQueryReceived,
    HaveReceived,
    PeerGone,
    RequestCancelled,
    RequestDone,
    RequestFailed,
    RequestMissing,
    RequestReceived,
)
from forge_p2p.proto.states import SessionState
from forge_p2p.wire.codes import Code
from tests.proto.pair import End, Pair, client_session, make_chunk, server_session

CHUNKS = [make_chunk(size, seed) for seed in range(3) for size in (0, 10, 3000, 40_000)]
HERE = {chunk.hash: chunk for chunk in CHUNKS[::2]}
CONFIG = SessionConfig(max_requests=4, stall_timeout=50.0)

sides = st.sampled_from(["client", "server"])
picks = st.lists(st.integers(0, len(CHUNKS) - 1), min_size=1, max_size=20)


@dataclass
class Asked:
    room: int
    count: int
    cancelled: bool = False


class SessionMachine(RuleBasedStateMachine):
    """Commands in any order, bytes in any pieces, time in any steps."""

    @initialize(seed=st.integers(0, 2**32))
    def connect(self, seed: int) -> None:
        self.pair = Pair(client_session(config=CONFIG), server_session(config=CONFIG), seed)
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

    @rule(side=sides, code=st.sampled_from([Code.BUSY, Code.STORE, Code.LEAVING]))
    def give_up(self, side: str, code: Code) -> None:
        for event in self.ends[side].of(RequestReceived)[:3]:
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
            assert not gone or gone[0].code is Code.TIMEOUT, gone

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
        for _ in range(40):
            self.pair.run()
            for side in self.ends:
                self.answer(side, 20)
        self.pair.advance(200.0)
        for side, end in self.ends.items():
            endings = self.endings(side)
            for (owner, request), asked in self.asked.items():
                assert owner != side or endings[request] == (0 if asked.cancelled else 1)
            assert end.session.outstanding == 0
            assert end.session.next_deadline() is None, "nothing is left to wait for"
            self.check_answers(side, end)

    def check_answers(self, side: str, end: End) -> None:
        answers: Counter[tuple[int, int]] = Counter()
        for event in end.events:
            if isinstance(event, ChunksReceived | RequestMissing):
                answers.update((event.request_id, index) for index in event.indexes)
            if isinstance(event, ChunksReceived):
                assert all(bytes(chunk.data) == HERE[chunk.hash].data for chunk in event.chunks)
        assert not answers or max(answers.values()) == 1
        for done in end.of(RequestDone):
            assert sum(request == done.request_id for request, _ in answers) == self.asked[side, done.request_id].count

    def endings(self, side: str) -> Counter[int]:
        kinds = RequestDone | RequestFailed | HaveReceived
        return Counter(event.request_id for event in self.ends[side].events if isinstance(event, kinds))

    def answered(self, end: End, event: RequestReceived) -> list[int]:
        done: dict[int, list[int]] = end.__dict__.setdefault("done", {})
        return done.setdefault(event.request_id, [])

    def unanswered(self, end: End, event: RequestReceived) -> list[int]:
        over = {cancelled.request_id for cancelled in end.of(RequestCancelled)}
        done = set(self.answered(end, event))
        return [index for index in event.indexes if index not in done and event.request_id not in over]


TestSessionMachine = SessionMachine.TestCase
