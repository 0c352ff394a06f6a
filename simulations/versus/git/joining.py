"""Joins packs, as a program of its own, so that it can be measured beside `git index-pack`.

python -m simulations.versus.git.joining FOLDER PACK...
"""

import sys
from pathlib import Path

from forge_p2p.git.packs.formats import SHA1
from forge_p2p.git.packs.join import join_packs, open_source


def main() -> None:
    """Prints the path of the joined pack."""
    folder, *packs = map(Path, sys.argv[1:])
    print(join_packs([open_source(pack, pack.with_suffix(".idx"), SHA1) for pack in packs], folder, durable=False))


if __name__ == "__main__":
    main()
