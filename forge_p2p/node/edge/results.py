"""What operations on the bucket return; as `node.results`, which has the rules."""

from msgspec import Struct


class EdgeStatus(Struct, frozen=True):
    """The node's bucket: `records` of its catalogue, `bundles` of `bytes` together, `chunks` in them, `pins` that keep
    content. `waiting`: blobs that are dropped and not deleted yet."""

    url: str
    id: str
    endpoint: str
    region: str
    cdn: str
    records: int
    bundles: int
    chunks: int
    bytes: int
    pins: list[str]
    waiting: int
    notes: list[str] = []


class EdgePush(Struct, frozen=True):
    """`link` is in the bucket, kept there under `name`. `unchanged`: it was already. `objects` written, `requests`
    made, bytes `sent` and `received` for it; `chunks` in all and `new_chunks` that were not there. `records` of a
    name's log that were copied."""

    name: str
    link: str
    unchanged: bool
    chunks: int
    new_chunks: int
    bundles: int
    objects: int
    requests: int
    sent: int
    received: int
    seconds: float
    notes: list[str] = []
    records: int = 0


class EdgeGc(Struct, frozen=True):
    """`deleted` objects of `freed_bytes`; `dropped` now, to be deleted when whoever reads them has had time;
    `rewritten` bundles of which little was still needed."""

    deleted: int
    freed_bytes: int
    dropped: int
    rewritten: int
    seconds: float


class EdgeCheck(Struct, frozen=True):
    """`objects` and `bytes` that were read, and the `problems` that were found; `repaired` of them."""

    objects: int
    bytes: int
    problems: list[str]
    repaired: int
    unrepaired: int
    seconds: float


class RestoredName(Struct, frozen=True):
    """The log of a name: its newest record, and how many records were `new` here."""

    network: str
    name: str
    seq: int
    new: int


class EdgeRestore(Struct, frozen=True):
    """What a node was made again from: the logs of `names`, the content of so many `pins`, of which `fetched_bytes`
    came. `refused`: what lies in the bucket and is not believed, and why. `problems`: what is missing here for it.
    `skipped`: pins of networks that the node is not in. `node_id`: who the node is now."""

    url: str
    node_id: str
    names: list[RestoredName]
    pins: int
    fetched_bytes: int
    refused: list[str]
    problems: list[str]
    skipped: int
    seconds: float
