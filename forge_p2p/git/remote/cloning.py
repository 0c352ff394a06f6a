"""What a new clone gets for its checkout: processes for all processors, and contents at hand.

Where packs are not made but taken as they are, writing the files is most of what is left of a clone, and git does that
by one process unless it is told otherwise. It reads its configuration anew between the fetch and the checkout, and the
processes that it starts then see what packs there are.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forge_p2p.git.hot.keeping import hot_folder, is_off
from forge_p2p.git.hot.lending import lend
from forge_p2p.git.landing import Landing
from forge_p2p.git.remote.options import BACKGROUND
from forge_p2p.git.running import Git
from forge_p2p.git.settings import TELL_WORKERS, may_tell_workers
from forge_p2p.git.state import State
from forge_p2p.node.repositories.results import RepositoryResult


@contextmanager
def checked_out_in_parallel(git: Git) -> Iterator[None]:
    """Tells it while packs come, unless somebody has said otherwise or there is nothing to check out to. It is told by
    the end of this: whoever clones writes to the same file after that."""
    if not may_tell_workers(git.settings):
        yield
        return
    git.begin(*TELL_WORKERS)
    try:
        yield
    finally:
        git.attempt(*TELL_WORKERS)  # a clone that lacks it is slower, and no worse


def have_contents_at_hand(git: Git, landing: Landing, lock: bytes, about: RepositoryResult, cache: Path) -> None:
    """Lends it the node's hot pack of what `about` says that it is. `lock`: the `.keep` of its one pack, empty where
    there are several; `cache`: the node's. Not where nobody would check out, or take it back afterwards."""
    if not about.member:
        return
    name = f"{about.network}/{about.name}"
    State(git.places).set_name(name)
    checked_later = git.settings.get("forge.verify", BACKGROUND) == BACKGROUND
    if lock and checked_later and git.settings.get("core.bare") != "true" and not is_off(git):
        main = os.path.basename(lock).removeprefix(b"pack-").removesuffix(b".keep")
        lend(git, landing, bytes.fromhex(main.decode()), hot_folder(cache, name))
