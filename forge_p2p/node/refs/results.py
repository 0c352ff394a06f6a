"""What operations on names return; as `node.results`, which has the rules."""

from msgspec import Struct


class RecordEntry(Struct, frozen=True):
    """One record of a name. `author` is a node's id, `label` and `role` what is known of it; `home`: the node at which
    the next record has to be put; `expires` 0 = never. `pinned`: its content is kept here."""

    seq: int
    time: float
    link: str
    author: str
    label: str
    role: str
    expires: float
    protected: bool
    home: str
    pinned: bool


class PublishResult(Struct, frozen=True):
    """`name` stands for `link` by record `seq`; `ref` is the way to write that, `network/name@seq`. `unchanged`: it did
    before, and no record was made. `held`: somebody else has all of the content. `files`, `bytes` and `new_bytes` are
    of what was added to the store, 0 for a rollback. `notes` say what else happened, one line each."""

    ref: str
    network: str
    name: str
    seq: int
    link: str
    unchanged: bool
    held: bool
    files: int
    bytes: int
    new_bytes: int
    seconds: float
    notes: list[str]


class PullResult(Struct, frozen=True):
    """`link` is what record `seq` says; the rest is as in `GetResult`, `wire_sent` and `wire_received` with the
    question that the home was asked. `notes` say, for example, that it could not be."""

    ref: str
    network: str
    name: str
    seq: int
    link: str
    time: float
    author: str
    destination: str
    files: int
    unchanged: int
    bytes: int
    fetched_bytes: int
    wire_sent: int
    wire_received: int
    seconds: float
    problems: list[str]
    notes: list[str]


class LogResult(Struct, frozen=True):
    """Records, the newest first. `notes` as in `PullResult`."""

    network: str
    name: str
    records: list[RecordEntry]
    notes: list[str]


class NamesResult(Struct, frozen=True):
    """The names of a network, in the order of their bytes, as far as its home and this node know of any."""

    network: str
    names: list[str]
    notes: list[str]


class DiffEntry(Struct, frozen=True):
    """`change`: "added", "removed", "changed", "moved". `path` is the new one, `old_path` the one before a move. Sizes
    are of the content, before and after."""

    change: str
    path: str
    old_path: str
    old_size: int
    size: int


class DiffResult(Struct, frozen=True):
    """Two links, and what leads from the first to the second."""

    old: str
    new: str
    entries: list[DiffEntry]


class FollowEntry(Struct, frozen=True):
    """A name that is followed here. `seq` and `link` are of the newest record known, 0 and empty for none. `keep`: how
    many of its newest versions stay."""

    network: str
    name: str
    seq: int
    link: str
    keep: int


class FollowedResult(Struct, frozen=True):
    """What is followed; of `--stop`, what no longer is."""

    followed: list[FollowEntry]


class FollowResult(Struct, frozen=True):
    """Sent when following goes on without the command; changes are lines of JSON, as bytes, before it."""

    network: str
    name: str
    seq: int
    link: str


class FollowedChange(Struct, frozen=True):
    """One line of `forge follow`: a new record, and whether its content is here by now. `problem`: why it is not."""

    ref: str
    network: str
    name: str
    seq: int
    link: str
    time: float
    author: str
    complete: bool
    problem: str


class CacheSaveResult(Struct, frozen=True):
    """`saved` is false when the key had an entry already; that is unchanged, and nothing was read. The rest is as in
    `PublishResult`."""

    key: str
    ref: str
    link: str
    saved: bool
    held: bool
    files: int
    bytes: int
    new_bytes: int
    seconds: float
    notes: list[str]


class CacheRestoreResult(Struct, frozen=True):
    """`found` is the key of the entry that was restored, saved at `time`; `exact`: it is the one that was asked for,
    not one with a prefix. The rest is as in `GetResult`."""

    key: str
    found: str
    exact: bool
    ref: str
    link: str
    time: float
    destination: str
    files: int
    unchanged: int
    bytes: int
    fetched_bytes: int
    seconds: float
    problems: list[str]
