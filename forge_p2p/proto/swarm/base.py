"""The words of a swarm: items, requests, distances, limits."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import msgspec

from forge_p2p.ids import Hash
from forge_p2p.wire import limits as wire

KIB = 1024
MIB = 1024 * KIB

Peer = Hashable


class Chance(Protocol):
    """Randomness, as `random.Random` has it."""

    def random(self) -> float: ...


class Distance(IntEnum):
    """Where a peer is; the nearest is asked first. Seeds and edges are asked for what nobody nearer has."""

    LAN = 0
    SITE = 1
    OTHER = 2
    SEED = 3
    EDGE = 4


class Item(msgspec.Struct, frozen=True, gc=False):
    """A chunk to fetch; `size` in raw bytes, for the window."""

    hash: Hash
    size: int


@dataclass(frozen=True, slots=True)
class Request:
    """Ask `peer` for these items, most wanted first; `number` names the request in what is reported back. It may name
    more than the `max_bytes` raw bytes that there is room for. `sparing`: the peer is to leave out what it has just
    sent to others."""

    peer: Peer
    number: int
    items: Sequence[Item]
    urgent: bool
    max_bytes: int
    sparing: bool


@dataclass(frozen=True, slots=True)
class SwarmLimits:
    """Bytes, seconds and counts; `docs/swarm.md` has the reasons and what was measured."""

    window: int = 16 * MIB
    """The widest; covers what is in flight on a 1 Gbit/s path with 100 ms of delay."""
    narrowest: int = 2 * MIB
    """Rules where the disk is slower than the peers. On loopback, with 4 MiB and requests of 2 MiB a kill cost 2.6 MB
    of what had come, with this about 1 MB and 5 % more processor time, with half of it 0.8 MB and 20 % more."""
    flight_least: int = 320 * KIB
    """Under way of a peer that is alone, at first and at least; see `window`."""
    flight_enough: int = 4 * MIB
    """Beyond this, a share of what has come lets nothing more be under way."""
    flight_margin: float = 0.0025
    flight_ramp: int = 192 * MIB
    """When so much has come a request may take all of `flight_margin` longer than its delay, before in proportion:
    larger requests cost less, but what is under way when a process is killed early is much of what it has brought."""
    backlog: int = 768 * KIB
    """Received and not yet stored: past it the window shrinks."""
    narrowest_edge: int = 12 * MIB
    backlog_edge: int = 8 * MIB
    """The same when a bucket is a source: measured with those of peers, a gigabyte took 1,000 requests, one after the
    other."""
    request_bytes: int = wire.WANT_BYTES_MAX
    """A quarter of the window at most."""
    request_items: int = wire.HASHES_MAX
    requests_per_peer: int = 8
    queue_items: int = 8192
    peers: int = 16
    """Asked at the same time."""

    pipeline_first: int = 1 * MIB
    """Asked of a peer that nothing is known about; it doubles while the peer keeps up."""
    pipeline_least: int = wire.CHUNK_SIZE_MAX
    """One chunk, however large."""
    pipeline_edge: int = 8 * MIB
    """Asked at least of a bucket while nobody else fetches the same: its delay is longer than a range takes."""
    margin: float = 0.4
    """What is asked of a peer lasts for its delay and this long, at its rate."""

    gather: int = 512 * KIB
    gather_wait: float = 0.2
    """What a neighbour announces is asked for when it is so many bytes, or so much later: a request costs as much as a
    few chunks. Not if next to nothing is under way: then time is all that counts."""

    names: int = 16
    """How many times more is named to an origin than there is room for."""
    names_alone: int = 2
    """As long as no other peer is there."""
    urgent_unspared: int = 4
    """As many urgent items are asked of an origin outright."""
    elsewhere_wait: float = 1.0
    """For how long an item is left to the neighbours after the origin has said that others were just sent it; up to a
    half more by chance, so that not all come back at once. A quarter for urgent ones."""
    elsewhere_rounds: int = 10
    """After so many such waits the origin is asked outright; a third of it for urgent ones."""
    elsewhere_rounds_edge: int = 40
    """The same of a bucket, where fetchers divide everything among themselves and help each other out before that
    (`node/edge/source`)."""

    patience: float = 2.0
    """Origins are used for what others have only if these would take longer than this with what is waiting for them."""
    patience_edge: float = 0.5
    """As long do peers who have everything keep a bucket waiting before they have shown anything, and are they left to
    bring the rest where it is far faster."""
    late: float = 2.0
    """A request is late when it takes this long and four times what it should; others are asked for what it names."""
    retry_max: float = 10.0
    """A peer that was late is asked again after 1 s, doubled each time, up to this."""
    askers: int = 2
    """Peers who are asked for the same item at once, in the end."""
    early_holdings: int = 262_144
    """Announced chunks remembered that are not wanted yet."""
    likely_lacks: int = 64
    """A peer that only seems to have things may lack so many and four times what it brought; then it is believed no
    more. Of a summary that is true one in a hundred is lacking of what is not there."""
    stuck: float = 30.0
    """What no peer has is hopeless when peers who are still fetching have told nothing for so long."""

    @classmethod
    def within(cls, rate: float) -> "SwarmLimits":
        """For a fetch that may receive `rate` bytes a second: so little is under way that they come evenly."""
        usual = cls()
        window = int(min(max(rate / 4, 2 * wire.CHUNK_SIZE_MAX), usual.window))
        return cls(
            window=window,
            narrowest=min(window, usual.narrowest),
            request_bytes=min(window // 4, usual.request_bytes),
        )
