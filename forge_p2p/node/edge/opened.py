"""The bucket of a node, opened: its catalogue, its chunks, and what it costs. All of it blocks and is safe from any
thread; nothing is asked of the bucket before something is needed."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from forge_p2p.bucket.catalogue import Catalogue
from forge_p2p.bucket.opening import open_bucket
from forge_p2p.bucket.reading import Reader
from forge_p2p.config import EdgeConfig
from forge_p2p.content.codec import EncodedChunk, decode
from forge_p2p.errors import NotFound
from forge_p2p.ids import Hash, NodeId
from forge_p2p.node.edge.settings import EdgeRecord, config_of

if TYPE_CHECKING:
    from forge_p2p.node.local import LocalNode


class Edge:
    """`cache`: a folder for what is known of the bucket, or `None`. `by`: who writes into it, for people."""

    def __init__(self, record: EdgeRecord, config: EdgeConfig, cache: Path | None, by: str = "") -> None:
        self.record = record
        opened = open_bucket(config)
        self.bucket = opened.origin
        self.traffic = opened.traffic
        self.cdn_traffic = opened.cdn_traffic
        self.cache = cache
        self.by = by
        self.catalogue = Catalogue(opened.origin, opened.reads, cache, by)
        self.reader = Reader(opened.reads, opened.origin)
        self._opened = opened

    @property
    def node_id(self) -> NodeId:
        """What records of names call the bucket when it is their home."""
        return NodeId(bytes.fromhex(self.record.id))

    @property
    def where(self) -> str:
        return self.bucket.where

    def read_encoded(self, chunks: Sequence[Hash]) -> Iterator[list[EncodedChunk]]:
        """Chunks in stored form, in any order, a range's at a time; those that are not there are left out. Raises
        `BucketError`, `CorruptChunk`."""
        return self.reader.chunks(self.catalogue.locate(chunks).values())

    def read(self, chunk: Hash) -> bytes | memoryview:
        """One chunk's raw content, verified. Raises `NotFound`, `BucketError`, `CorruptChunk`."""
        for found in self.read_encoded([chunk]):
            return decode(found[0])
        raise NotFound(f"chunk {chunk.hex()[:16]} is not in {self.where}")

    def close(self) -> None:
        self._opened.close()


def edge_of(node: "LocalNode", record: EdgeRecord) -> Edge:
    """The bucket that a record names. Raises as `config_of` and `open_bucket`."""
    config = config_of(node.home, record, node.config.edge_credentials)
    kept = None if record.url.startswith("memory:") else Path(node.home.cache) / "edge" / record.id
    return Edge(record, config, kept, node.node_id.hex())
