"""What a new clone is told for the rest of its life: to check files out by as many processes as there are processors.

Where packs are not made but taken as they are, writing the files is most of what is left of a clone, and git does that
by one process unless it is told otherwise. It reads its configuration anew between the fetch and the checkout.
"""

from typing import Final

from forge_p2p.git.running import Git

WORKERS: Final = "checkout.workers"

ALL_PROCESSORS: Final = "0"


def check_out_in_parallel(git: Git) -> None:
    """Unless somebody has said otherwise, in whichever of git's files, or there is nothing to check out to."""
    if git.settings.get(WORKERS) or git.settings.get("core.bare") == "true":
        return
    git.attempt("config", "--local", WORKERS, ALL_PROCESSORS)  # a clone that lacks it is slower, and no worse
