"""What a new clone is told for the rest of its life: to check files out by as many processes as there are processors.

Where packs are not made but taken as they are, writing the files is most of what is left of a clone, and git does that
by one process unless it is told otherwise. It reads its configuration anew between the fetch and the checkout.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from forge_p2p.git.running import Git

WORKERS: Final = "checkout.workers"

_TELL: Final = ("config", "--local", WORKERS, "0")
"""0: as many as there are processors."""


@contextmanager
def checked_out_in_parallel(git: Git) -> Iterator[None]:
    """Tells it while packs come, unless somebody has said otherwise, in whichever of git's files, or there is nothing
    to check out to. It is told by the end of this: whoever clones writes to the same file after that."""
    if git.settings.get(WORKERS) or git.settings.get("core.bare") == "true":
        yield
        return
    git.begin(*_TELL)
    try:
        yield
    finally:
        git.attempt(*_TELL)  # a clone that lacks it is slower, and no worse
