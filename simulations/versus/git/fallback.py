"""A clone that has to fall back, beside plain git's: `python -m simulations.versus.git.fallback REPO [ROUNDS]`.

REPO is a bare repository (it is only read), served by `git daemon`; the node is in no network, so the helper turns to
the server at once. Alternates, and prints wall and processor time of each clone, that of the server left out.
"""

import os
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from simulations.versus.git.servers import QUIET, daemon
from simulations.versus.git.sides import BESIDE
from simulations.versus.peers import program
from simulations.versus.process import measure


def main(repository: Path, rounds: int) -> None:
    """Measures, and prints."""
    with TemporaryDirectory(prefix="forge-fallback-") as temporary, daemon(repository.resolve().parent) as url:
        work = Path(temporary)
        path = f"{BESIDE}{os.pathsep}{os.environ['PATH']}"
        environment = {**QUIET, "FORGE_HOME": str(work / "home"), "PATH": path}
        settings = ("-c", f"forge.team/.upstream={url}", "-c", "forge.verify=never")
        for _ in range(rounds):
            for name, source in (("git", f"{url}{repository.name}"), ("fallback", f"forge://team/{repository.name}")):
                shutil.rmtree(work / "copy", ignore_errors=True)
                words = ("clone", "--quiet", source, work / "copy")
                done = measure([program("git"), *settings, *words], environment=environment)
                print(f"{name:8} {done.seconds:7.2f} s, processor {done.cpu:6.2f} s", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
