"""Buckets for the tests, each empty when it is opened."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from forge_p2p.bucket.base import Bucket
from forge_p2p.bucket.opening import open_bucket
from forge_p2p.config import EdgeConfig

Open = Callable[[Path], AbstractContextManager[EdgeConfig]]


@contextmanager
def in_memory(tmp_path: Path) -> Iterator[EdgeConfig]:
    yield EdgeConfig(f"memory://{os.urandom(8).hex()}")


@contextmanager
def in_folder(tmp_path: Path) -> Iterator[EdgeConfig]:
    yield EdgeConfig(f"file://{tmp_path}/nas/forge")


def bucket(config: EdgeConfig) -> Bucket:
    """The bucket itself, without a CDN."""
    return open_bucket(config).origin
