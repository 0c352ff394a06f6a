"""What operations on networks and their members return; as `results`, which has the rules."""

from msgspec import Struct


class NetworkEntry(Struct, frozen=True):
    """A network that this node is in: as what, until when, and whether it holds the network's own key."""

    name: str
    id: str
    role: str
    expires: float
    key: bool


class NetworksResult(Struct, frozen=True):
    networks: list[NetworkEntry]


class NetworkStatus(Struct, frozen=True):
    """A network at a glance. `problem`: why this node is no member any more, or why its record cannot be read; then the
    rest may be empty. Of the running node, and 0 without one: members `known` and `connected`, nodes in the DHT's table
    (`dht_nodes`), roots of this node's that the DHT is told of (`announced`) and how many of these announcements are
    overdue by more than a minute (`behind`)."""

    name: str
    id: str
    role: str
    expires: float
    problem: str = ""
    known: int = 0
    connected: int = 0
    dht_nodes: int = 0
    announced: int = 0
    behind: int = 0


class InviteResult(Struct, frozen=True):
    """`id` names the token to `forge network revoke`; it is no secret."""

    token: str
    id: str
    network: str
    role: str
    expires: float


class MemberEntry(Struct, frozen=True):
    """A member ("node") or a token ("token"). `seen`: when it was last heard of, 0 for tokens. `token`: the id of the
    one that a member joined by, as far as is known."""

    id: str
    kind: str
    role: str
    label: str
    expires: float
    seen: float
    revoked: bool
    token: str = ""


class MembersResult(Struct, frozen=True):
    """`tokens` are those issued by this node."""

    network: str
    members: list[MemberEntry]
    tokens: list[MemberEntry]


class RevokeResult(Struct, frozen=True):
    """`token`: the id of the token that was revoked with its only member. `left`: that of a token by which the member
    can join again. `restored`: ids that were revoked by the admin who is revoked now, and are no more."""

    network: str
    id: str
    kind: str
    label: str
    token: str = ""
    left: str = ""
    restored: list[str] = []


class PeerStatus(Struct, frozen=True):
    node_id: str
    address: str
    connected: float
    sent: int
    received: int
    round_trip: float


class PeerEntry(Struct, frozen=True):
    """Somebody known in a network. `found`: how it came to be known: "lan", "static", "token", "met" (connected before
    a restart), "called", "swarm" or "dht". `connected` seconds, 0 = not connected; `sent` and `received` UDP payload
    bytes and `up` and `down` bytes a second, of this session. `problem`: why it could not be reached last time.
    `chunks`: about how many its summary named when a fetch last asked for it; 0: it was not asked."""

    network: str
    node_id: str
    label: str
    role: str
    found: str
    address: str
    connected: float
    round_trip: float
    sent: int
    received: int
    up: float
    down: float
    failures: int
    problem: str
    chunks: int = 0


class PeersResult(Struct, frozen=True):
    """`tickets` are sessions that belong to a ticket and not to a network."""

    members: list[PeerEntry]
    tickets: list[PeerStatus]


class SourceEntry(Struct, frozen=True):
    """One node that content came from, or was to come from: `fetched` bytes of content at `rate` bytes a second.
    `problem`: why it was left."""

    node_id: str
    address: str
    found: str
    origin: bool
    fetched: int
    rate: float
    failures: int
    problem: str


class FetchEntry(Struct, frozen=True):
    """A fetch that ended: when (Unix seconds), how, and what came from whom."""

    link: str
    network: str
    ended: float
    seconds: float
    outcome: str
    sources: list[SourceEntry]


class HolderEntry(Struct, frozen=True):
    """A node that says it holds a root, in a network: all of it, or `chunks` of it so far. `problem`: why it could not
    be asked."""

    network: str
    node_id: str
    address: str
    complete: bool
    origin: bool
    chunks: int
    problem: str


class WhyResult(Struct, frozen=True):
    """Where a link's content is: here (`here` in words), at whom, and how the last fetch went. `notes` say in plain
    words what follows from it."""

    link: str
    here: str
    networks: list[str]
    holders: list[HolderEntry]
    last: FetchEntry | None
    notes: list[str]
