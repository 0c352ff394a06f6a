"""What syncing a folder returns and tells meanwhile; as `node.results`, which has the rules."""

from msgspec import Struct


class ConflictEntry(Struct, frozen=True):
    """Both sides changed `path`: one version is there, the other, `owner`'s, at `copy`."""

    path: str
    copy: str
    owner: str


class SyncResult(Struct, frozen=True):
    """One round. The directory and `name` are what record `seq` says, by `link`, but for `problems`.

    `sent` and `sent_removals` are paths that the name had otherwise or did not have before, and the other way round;
    `received` and `received_removals` those of the directory. `published`: a record was made for that; `held`: somebody
    else has all of the content. `problems`: paths that could not be read or written, one line each; the rest is done.
    """

    ref: str
    network: str
    name: str
    seq: int
    link: str
    directory: str
    published: bool
    held: bool
    files: int
    bytes: int
    sent: list[str]
    sent_removals: list[str]
    received: list[str]
    received_removals: list[str]
    fetched_bytes: int
    conflicts: list[ConflictEntry]
    problems: list[str]
    notes: list[str]
    seconds: float


class SyncTrouble(Struct, frozen=True):
    """A line of `forge sync --watch` when a round failed as a whole; it goes on and tries again."""

    error: str
    message: str
    hint: str
