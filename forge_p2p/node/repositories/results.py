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
