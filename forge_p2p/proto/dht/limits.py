"""The numbers of the DHT. `docs/dht.md` says where they come from."""

from dataclasses import dataclass, field

from forge_p2p.proto.dht.messages import CONTACTS_MAX
from forge_p2p.proto.dht.subnets import Caps


@dataclass(frozen=True, slots=True)
class LookupLimits:
    """Counts; seconds."""

    k: int = CONTACTS_MAX
    """Answers that make a lookup complete."""
    paths: int = 3
    """Disjoint paths at once, one query under way on each: alpha of Kademlia, d of S/Kademlia."""
    paths_in_all: int = 14
    """Begun one after the other while providers are still looked for or the neighbourhood of a key is surveyed. With a
    fifth of the nodes lying in concert every second path may be led astray; all of eight were in one lookup of a
    hundred, all of fourteen in one of two hundred, and who finds earlier asks no more than before."""
    queries: int = 120
    """Asked at most, whatever the answers say; an honest network of 10,000 takes 45."""
    candidates: int = 60
    """Kept for each path, nearest first."""
    asked_of_site: int = 6
    asked_of_block: int = 12
    """Asked of one subnet before others are preferred."""
    duration: float = 60.0


@dataclass(frozen=True, slots=True)
class ProviderLimits:
    """What one node keeps for others. Records, seconds. A record takes about 500 bytes."""

    per_key: int = 256
    per_key_and_site: int = 32
    per_key_and_block: int = 64
    per_sender: int = 4096
    total: int = 65536
    ttl_max: int = 24 * 3600


@dataclass(frozen=True, slots=True)
class AnnounceLimits:
    """Seconds and counts."""

    surveys: int = 2
    """Lookups for announcements at once."""
    in_flight: int = 24
    """Announcements sent and not answered."""
    survey_age: float = 3600.0
    """Who is nearest to a key is looked up again after this; before it, announcements go where the last ones went."""
    retry: float = 30.0
    """After an announcement that nobody took."""
    late: float = 60.0
    """Past its time by more than this an announcement is overdue."""


@dataclass(frozen=True, slots=True)
class UpkeepLimits:
    """Seconds and counts."""

    period: float = 90.0
    """Between two looks at what needs doing, at most one query each in quiet times."""
    neighbour_age: float = 1800.0
    """A neighbour not heard of for so long is asked."""
    bucket_age: float = 3600.0
    """A bucket in which nothing was looked up for so long is refreshed (Kademlia, section 2.3)."""
    stale: float = 600.0
    """A contact silent for longer is probed when another wants its place."""
    lost_max: int = 64
    """Contacts remembered after they failed, for the day when a partition heals."""
    lost_retry: float = 300.0
    lost_age: float = 7 * 24 * 3600.0
    rejoin_first: float = 2.0
    rejoin_last: float = 300.0
    """With nobody reachable, trying again begins after the first and doubles up to the last."""
    offline_after: int = 8
    """So many failures in a row are this node's own: nobody is blamed for more."""
    slept_after: float = 30.0
    """Woken later than asked for by more than this, the machine was suspended."""
    refresh_answers: int = 3
    """Nodes met by the refresh of one bucket."""


@dataclass(frozen=True, slots=True)
class DhtLimits:
    k: int = CONTACTS_MAX
    """Contacts in a bucket, in an answer, and nodes that keep a record."""
    caps: Caps = field(default_factory=Caps)
    lookup: LookupLimits = field(default_factory=LookupLimits)
    providers: ProviderLimits = field(default_factory=ProviderLimits)
    announce: AnnounceLimits = field(default_factory=AnnounceLimits)
    upkeep: UpkeepLimits = field(default_factory=UpkeepLimits)
