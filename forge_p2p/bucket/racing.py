"""Whether a bucket keeps its word: of several who write one key if it is absent, exactly one may win.

Imitations of S3 have been seen that let two (rustfs 1659, versitygw 2288), or that ignore the condition. On such a
place names could fork and a collector could delete what was just written, so it is refused before anything is put
there."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from forge_p2p.bucket.base import Bucket
from forge_p2p.errors import BucketRefused

FOLDER: Final = "races/"
WRITERS: Final = 8
ROUNDS: Final = 3


def require_one_winner(bucket: Bucket) -> None:
    """Races writers at fresh keys and removes these again. Raises `BucketRefused`, and what the bucket does."""
    for _ in range(ROUNDS):
        key = f"{FOLDER}{os.urandom(16).hex()}"
        try:
            _race(bucket, key)
        finally:
            bucket.delete([key])


def _race(bucket: Bucket, key: str) -> None:
    start = threading.Barrier(WRITERS)
    words = [os.urandom(1024) for _ in range(WRITERS)]

    def write(word: bytes) -> bool:
        start.wait()
        return bucket.put_if_absent(key, word)

    with ThreadPoolExecutor(WRITERS) as pool:
        won = [word for word, stored in zip(words, pool.map(write, words), strict=True) if stored]
    late = bucket.put_if_absent(key, os.urandom(1024))
    if len(won) != 1 or late or bucket.get(key) != won[0]:
        count = len(won) + late
        raise BucketRefused(
            f"{bucket.where} cannot be used: of {WRITERS + 1} who wrote one object if it was absent {count} were told "
            f"that they had, where it has to be one",
            hint="it ignores If-None-Match; use a bucket that knows conditional writes, a newer version for example",
        )
