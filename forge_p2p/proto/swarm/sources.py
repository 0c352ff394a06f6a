"""What is known of one peer, and what it was asked for."""

from dataclasses import dataclass, field

from forge_p2p.proto.swarm.base import Distance, Peer, Request
from forge_p2p.proto.swarm.pace import Pace
from forge_p2p.proto.swarm.wants import Want


@dataclass(frozen=True, slots=True)
class PeerStatistics:
    """What a fetch knows of one peer. Raw bytes, seconds; `rate` in bytes a second, 0 when unknown.

    `late`: requests that took too long; `failures`: that ended badly; `lacked`: chunks it was asked for and did not
    have; `elsewhere`: requests that it answered with what it had sent to others; `duplicates`: bytes that another peer
    had brought already. `reason`: why it is avoided or was left, empty if it is not.
    """

    peer: Peer
    distance: Distance
    origin: bool
    complete: bool
    present: bool
    bytes: int
    chunks: int
    rate: float
    delay: float
    outstanding: int
    requests: int
    late: int
    failures: int
    lacked: int
    elsewhere: int
    duplicates: int
    reason: str


@dataclass(slots=True, eq=False)
class Source:
    """One peer. `candidates` are wants that it has announced; some may have been asked for or received since. `likely`:
    it has announced nothing, and only seems to have them; `disbelieved` when it turned out to lack too many."""

    peer: Peer
    bit: int
    distance: Distance
    complete: bool
    origin: bool
    pace: Pace
    joined: float
    likely: bool = False
    disbelieved: bool = False
    open: "dict[int, Open]" = field(default_factory=dict)
    candidates: list[Want] = field(default_factory=list)
    gather_until: float = 0.0
    """Until then a few candidates are left to become more; 0 if that is past."""
    retry_at: float = 0.0
    """Until then nothing is asked of it."""
    strikes: int = 0
    """How often it was late or failed since it last brought something."""
    swamped: bool = False
    """More waits for it than it will bring soon."""
    bytes: int = 0
    chunks: int = 0
    requests: int = 0
    late: int = 0
    failures: int = 0
    lacked: int = 0
    elsewhere: int = 0
    duplicates: int = 0
    reason: str = ""

    @property
    def gathered(self) -> int:
        """About how many bytes it may be asked for."""
        return len(self.candidates) * self.candidates[-1].item.size if self.candidates else 0

    @property
    def trusted(self) -> bool:
        """Whether it can be counted on to bring soon what it has."""
        return not (self.strikes or self.swamped or self.disbelieved)

    @property
    def spared(self) -> bool:
        """Whether it is asked only for what others do not have."""
        return self.origin or self.distance >= Distance.SEED

    def statistics(self, *, present: bool) -> PeerStatistics:
        """As it is now."""
        return PeerStatistics(
            peer=self.peer,
            distance=self.distance,
            origin=self.origin,
            complete=self.complete,
            present=present,
            bytes=self.bytes,
            chunks=self.chunks,
            rate=self.pace.rate or 0.0,
            delay=self.pace.delay,
            outstanding=self.pace.outstanding,
            requests=self.requests,
            late=self.late,
            failures=self.failures,
            lacked=self.lacked,
            elsewhere=self.elsewhere,
            duplicates=self.duplicates,
            reason=self.reason,
        )


@dataclass(slots=True, eq=False)
class Open:
    """A request under way. `wants`: by index, `None` once answered; `left`: those still wanted. `budget`: bytes that
    may still come on one that names more than there is room for, else `None`. `doubted`: it is late, and others may be
    asked for what it names. `probe`: that is so from the start."""

    request: Request
    source: Source
    wants: list[Want | None]
    left: int
    budget: int | None
    bytes: int
    """Not answered, as the peer's pace counts them."""
    sent_at: float
    expected_at: float
    doubted: bool = False
    probe: bool = False
