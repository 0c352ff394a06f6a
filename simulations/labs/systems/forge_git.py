"""git by Forge: the repository that the system `git` serves over http, published by the origin and cloned by all."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from simulations.labs.programs import Program
from simulations.labs.systems import forge
from simulations.labs.systems.base import Stage
from simulations.labs.systems.git import QUIET, make_repository
from simulations.labs.systems.http import waiting
from simulations.labs.tools import program
from simulations.labs.topology import Host

URL = f"forge://{forge.NETWORK}/repository"


class ForgeGit(forge.ForgeNetwork):
    """`git clone forge://…`, on hosts whose nodes are members of one network."""

    name: str = "forge-git"

    @contextmanager
    def open(self, stage: Stage) -> Iterator[Mapping[str, Program]]:
        origin, agents = stage.origin, list(stage.agents.values())
        token = forge.found_network(origin, lan=stage.scenario.lan)
        bare = origin.folder / "repository.git"
        make_repository(stage.content, bare)
        forge.run(origin, "git", "publish", str(bare), f"{forge.NETWORK}/repository")
        forge.join(agents, token, lan=stage.scenario.lan)
        for host in agents:
            forge.up(host)
        for host in agents:
            forge.wait_for_peers(host, 1)
        clone = f"{program('git')} clone --quiet {URL} copy"
        yield {name: host.start(waiting(host, clone), _environment(host)) for name, host in stage.agents.items()}

    def copy(self, host: Host) -> Path:
        return host.folder / "copy" / "content.bin"


def _environment(host: Host) -> dict[str, str]:
    """The node of this host, and git's helper as it is installed beside this interpreter."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**QUIET, **forge.environment(host), "PATH": path}
