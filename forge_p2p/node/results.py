"""What every operation returns and reports while it runs.

The structs cross the control socket and reach scripts as `--json`, so a field is only ever added. Sizes are bytes,
durations seconds, points in time Unix seconds (0 = never), links and tickets their text form. Paths, in results and in
arguments alike, are in the text form of `content.pathtext`, which keeps every byte of a name.
"""

from msgspec import Struct

from forge_p2p.node.edge.results import EdgeCheck, EdgeGc, EdgePush, EdgeRestore, EdgeStatus
from forge_p2p.node.network_results import (
    InviteResult,
    MembersResult,
    NetworksResult,
    NetworkStatus,
    PeersResult,
    PeerStatus,
    RevokeResult,
    SourceEntry,
    WhyResult,
)
from forge_p2p.node.refs.results import (
    CacheRestoreResult,
    CacheSaveResult,
    DiffResult,
    FollowedResult,
    FollowResult,
    LogResult,
    NamesResult,
    PublishResult,
    PullResult,
)
from forge_p2p.node.repositories.results import (
    CheckoutResult,
    MirrorResult,
    RepositoriesResult,
    RepositoryFilesResult,
    RepositoryPutResult,
    RepositoryResult,
    RepositoryShareResult,
    RulesResult,
    StandbyResult,
    UpkeepResult,
)
from forge_p2p.node.syncing.results import SyncResult


class Progress(Struct, frozen=True, array_like=True):
    """How far an operation is. `total` and `items_total` are `None` while unknown; `phase` is one word: "scan",
    "ingest", "connect", "fetch", "restore", "publish", "hand-over", "verify", "collect", "rebuild", "check"."""

    phase: str
    done: int = 0
    total: int | None = None
    items: int = 0
    items_total: int | None = None
    note: str = ""


class AddResult(Struct, frozen=True):
    """`bytes` were read as content, `new_bytes` of them were not in the store yet and took `stored_bytes` there.
    `notes` say what was left out, one line each."""

    link: str
    kind: str
    files: int
    bytes: int
    new_bytes: int
    stored_bytes: int
    seconds: float
    notes: list[str]


class ShareResult(Struct, frozen=True):
    """`network`: the name of the one it was shared into; there is no `ticket` then, and members need only the link."""

    ticket: str
    link: str
    addresses: list[str]
    expires: float
    add: AddResult
    network: str = ""


class ShareEntry(Struct, frozen=True):
    """One share that a node answers for. `served_bytes` since the node started."""

    id: str
    path: str
    link: str
    kind: str
    bytes: int
    created: float
    expires: float
    served_bytes: int
    network: str = ""


class SharesResult(Struct, frozen=True):
    shares: list[ShareEntry]


class UnshareResult(Struct, frozen=True):
    """`removed` names the shares that ended: a share's id, link or path may match several."""

    removed: list[ShareEntry]


class GetResult(Struct, frozen=True):
    """`unchanged` of the `files` were already right at the destination; `fetched_bytes` of content crossed the network
    as `wire_received` bytes of UDP payload. `problems`: what could not be restored as it was, one line each. `peer` is
    empty when everything was here."""

    link: str
    destination: str
    files: int
    unchanged: int
    bytes: int
    fetched_bytes: int
    wire_sent: int
    wire_received: int
    seconds: float
    problems: list[str]
    peer: str
    sources: list[SourceEntry] = []


class LsEntry(Struct, frozen=True):
    """`kind`: "file", "directory" or "symlink". `link` is a file's content or a symlink's target."""

    path: str
    kind: str
    mode: int
    size: int
    mtime_ns: int
    link: str


class LsResult(Struct, frozen=True):
    entries: list[LsEntry]
    link: str


class CatResult(Struct, frozen=True):
    """Sent after the content itself, which goes to the caller's `on_bytes` as it arrives."""

    link: str
    bytes: int


class StoreStatus(Struct, frozen=True):
    """`raw_bytes` of content take `disk_bytes`; `quota` 0 = none; `free_bytes` of the file system it lies on."""

    path: str
    chunks: int
    raw_bytes: int
    disk_bytes: int
    pins: int
    quota: int
    free_bytes: int
    quarantined: int


class RelayResult(Struct, frozen=True):
    """`bytes` of content were handed on."""

    bytes: int


class ResolveResult(Struct, frozen=True):
    """What a name stands for now, or by the record asked for."""

    name: str
    seq: int
    link: str


class OfferResult(Struct, frozen=True):
    """`link` belongs to `network` now, and its members are told."""

    link: str
    network: str


class StatusResult(Struct, frozen=True):
    """`pid`, `addresses`, `uptime`, `peers` and `lan_problem` (why LAN discovery does not work, in one line) are of the
    running node and empty without one; so are the counts in `networks`."""

    version: str
    home: str
    node_id: str
    running: bool
    pid: int
    addresses: list[str]
    uptime: float
    peers: list[PeerStatus]
    shares: list[ShareEntry]
    store: StoreStatus
    lan_problem: str = ""
    networks: list[NetworkStatus] = []


class Finding(Struct, frozen=True):
    """What one check of `forge doctor` found. `verdict`: "ok", "warn" or "fail"; `hint` says what to do, and is empty
    when all is well."""

    check: str
    verdict: str
    message: str
    hint: str


class DoctorResult(Struct, frozen=True):
    """Every finding in the order of the checks, and how many of them are of each bad kind."""

    findings: list[Finding]
    failed: int
    warned: int


class UpResult(Struct, frozen=True):
    """A node that has started and listens."""

    node_id: str
    home: str
    pid: int
    addresses: list[str]


class DownResult(Struct, frozen=True):
    pid: int


class PinEntry(Struct, frozen=True):
    name: str
    link: str
    keep: str
    expires: float
    used: float


class StoreStat(Struct, frozen=True):
    """`inline_chunks` are values in the index, the others slices of `files` data files; `codecs` counts chunks."""

    store: StoreStatus
    inline_chunks: int
    files: int
    staging: int
    codecs: dict[str, int]
    pins: list[PinEntry]


class StoreVerify(Struct, frozen=True):
    """`corrupt` lists the hashes (hex) that failed and are now in quarantine; `healed` of them came back from peers."""

    chunks: int
    bytes: int
    corrupt: list[str]
    healed: int
    seconds: float


class StoreGc(Struct, frozen=True):
    """`condemned` chunks wait for the grace period or for a writer to finish; `freed_bytes` went back to the disk."""

    collected: int
    condemned: int
    freed_bytes: int
    dropped_pins: int
    seconds: float


class StoreRebuild(Struct, frozen=True):
    """`lost` lists the names of data files that no journal explains; they were set aside."""

    files: int
    chunks: int
    bytes: int
    lost: list[str]
    seconds: float


Result = (
    AddResult
    | ShareResult
    | SharesResult
    | UnshareResult
    | GetResult
    | LsResult
    | CatResult
    | RelayResult
    | ResolveResult
    | OfferResult
    | StatusResult
    | DoctorResult
    | PublishResult
    | PullResult
    | LogResult
    | NamesResult
    | DiffResult
    | FollowResult
    | FollowedResult
    | SyncResult
    | RepositoryResult
    | RepositoryFilesResult
    | RepositoryPutResult
    | CheckoutResult
    | MirrorResult
    | UpkeepResult
    | RepositoriesResult
    | StandbyResult
    | RepositoryShareResult
    | RulesResult
    | CacheSaveResult
    | CacheRestoreResult
    | NetworksResult
    | InviteResult
    | EdgeStatus
    | EdgePush
    | EdgeGc
    | EdgeCheck
    | EdgeRestore
    | MembersResult
    | RevokeResult
    | PeersResult
    | WhyResult
    | UpResult
    | DownResult
    | StoreStat
    | StoreVerify
    | StoreGc
    | StoreRebuild
)

RESULT_TYPES: dict[str, type[Result]] = {
    "add": AddResult,
    "share": ShareResult,
    "shares": SharesResult,
    "unshare": UnshareResult,
    "get": GetResult,
    "ls": LsResult,
    "cat": CatResult,
    "relay": RelayResult,
    "resolve": ResolveResult,
    "offer": OfferResult,
    "status": StatusResult,
    "doctor": DoctorResult,
    "publish": PublishResult,
    "pull": PullResult,
    "log": LogResult,
    "names": NamesResult,
    "rollback": PublishResult,
    "diff": DiffResult,
    "follow": FollowResult,
    "follow_stop": FollowedResult,
    "follow_list": FollowedResult,
    "sync": SyncResult,
    "cache_save": CacheSaveResult,
    "cache_restore": CacheRestoreResult,
    "git_read": RepositoryResult,
    "git_files": RepositoryFilesResult,
    "git_put": RepositoryPutResult,
    "git_share": RepositoryShareResult,
    "git_list": RepositoriesResult,
    "git_standby": StandbyResult,
    "edge_set": EdgeStatus,
    "edge_status": EdgeStatus,
    "edge_gc": EdgeGc,
    "edge_check": EdgeCheck,
    "edge_push": EdgePush,
    "edge_drop": EdgeStatus,
    "edge_pull": GetResult,
    "edge_restore": EdgeRestore,
    "network_create": NetworksResult,
    "network_invite": InviteResult,
    "network_join": NetworksResult,
    "network_list": NetworksResult,
    "network_members": MembersResult,
    "network_revoke": RevokeResult,
    "network_leave": NetworksResult,
    "peers": PeersResult,
    "why": WhyResult,
    "down": DownResult,
    "store_stat": StoreStat,
    "store_verify": StoreVerify,
    "store_gc": StoreGc,
    "store_rebuild": StoreRebuild,
}
"""Every operation by the name that commands call it by, and what it returns."""


def result_type(operation: str) -> type[Result]:
    """Raises `KeyError` for what is no operation."""
    return RESULT_TYPES[operation]
