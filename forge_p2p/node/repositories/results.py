"""What operations on repositories return; as `node.results`, which has the rules."""

from msgspec import Struct


class RepositoryResult(Struct, frozen=True):
    """A repository as it is now; its manifest's bytes come before it. `link` is empty and `seq` 0 if nothing was
    published under the name yet. `author`: the node that signed it, `role` what it was; `member`: whether it speaks
    for a network of this node's, and did not merely issue a ticket. `own_role`:
    what this node is there."""

    network: str
    name: str
    seq: int
    link: str
    author: str
    role: str
    own_role: str
    member: bool
    notes: list[str]


class RepositoryFilesResult(Struct, frozen=True):
    """`files` were placed, `linked` of them without a copy; `bytes` their sizes, of which `fetched_bytes` came from
    peers."""

    files: int
    linked: int
    bytes: int
    fetched_bytes: int
    wire_sent: int
    wire_received: int
    seconds: float


class RepositoryPutResult(Struct, frozen=True):
    """`name` stands for `link` by record `seq`. The rest is as in `PublishResult`."""

    network: str
    name: str
    seq: int
    link: str
    held: bool
    new_bytes: int
    seconds: float
    notes: list[str]


class StandbyResult(Struct, frozen=True):
    """`started`: whether there was no standby before."""

    started: bool


class CheckoutResult(Struct, frozen=True):
    """`directory` is at `commit`. `how`: "written", "updated", "unchanged". `source`: the URL that the repository was
    brought up to date from; empty if that was not needed. `restored`: tracked files that were gone; `kept`: those with
    local changes, which stay. `notes` say what was in the way of a faster one."""

    directory: str
    commit: str
    how: str
    source: str
    restored: int
    kept: int
    seconds: float
    notes: list[str]


class MirrorResult(Struct, frozen=True):
    """`url` is what `upstream` is, by record `seq`; `moved`: since this time. `refs`: how many."""

    upstream: str
    url: str
    seq: int
    moved: bool
    refs: int
    new_bytes: int
    seconds: float
    notes: list[str]


class UpkeepResult(Struct, frozen=True):
    """`url` is at record `seq` and has so many `packs`; there were `before`. `moved`: whether anything was done;
    `joined`: packs that became one, 0 for none; `graph`: whether there is a new commit-graph. `notes` say, too, which
    packs stay as they are since git cannot read them."""

    url: str
    seq: int
    moved: bool
    before: int
    packs: int
    joined: int
    graph: bool
    new_bytes: int
    seconds: float
    notes: list[str]


class RuleEntry(Struct, frozen=True):
    """`pattern` is a ref or ends in `/*`. `protected`: only admins move what it covers; `forward`: that is not
    rewound."""

    pattern: str
    protected: bool
    forward: bool


class RulesResult(Struct, frozen=True):
    """The rules of a repository by record `seq`."""

    network: str
    name: str
    seq: int
    rules: list[RuleEntry]


class RepositoryShareResult(Struct, frozen=True):
    """`git clone forge::TICKET` gets the repository at `link` as it was, until `expires` (0: until it is unshared)."""

    ticket: str
    link: str
    expires: float
    bytes: int


class RepositoryEntry(Struct, frozen=True):
    """A name that stands for a repository: its newest record, and which node signed it when."""

    name: str
    seq: int
    time: float
    author: str
    link: str


class RepositoriesResult(Struct, frozen=True):
    """The repositories of a network. `notes` as in `NamesResult`."""

    network: str
    repositories: list[RepositoryEntry]
    notes: list[str]
