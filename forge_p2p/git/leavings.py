"""What killed helpers have left in a repository: looked for whenever one ends, as the next may have nothing to fetch.

A look at two folders, without asking git and, where there is nothing, without importing what would remove it.
"""

import os
from contextlib import suppress

from forge_p2p.git.layout import common_folder, names_in


def clean_up(git_dir: bytes) -> None:
    """Removes it, as far as nobody alive holds it."""
    common = common_folder(git_dir)
    packs, state = os.path.join(common, b"objects", b"pack"), os.path.join(common, b"forge")
    if any(name.startswith(b"tmp_forge") or name.endswith(b".keep") for name in names_in(packs)):
        from forge_p2p.errors import DiskError
        from forge_p2p.git.landing import Landing

        with suppress(DiskError), Landing(packs):
            pass
    if any(name.startswith(b"push_") for name in names_in(state)):
        from forge_p2p.git.putting import clean_outgoing

        clean_outgoing(state)
