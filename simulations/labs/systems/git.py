"""git over http: a repository with the content in it, served by `git http-backend` behind nginx, cloned by all."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from simulations.labs.programs import Program
from simulations.labs.systems.base import Stage
from simulations.labs.systems.http import start_nginx, waiting
from simulations.labs.tools import LabError, program
from simulations.labs.topology import Host

QUIET = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "lab",
    "GIT_AUTHOR_EMAIL": "lab@localhost",
    "GIT_COMMITTER_NAME": "lab",
    "GIT_COMMITTER_EMAIL": "lab@localhost",
    "GIT_TERMINAL_PROMPT": "0",
}

LOCATION = """location / {{
    fastcgi_pass unix:{socket};
    fastcgi_buffering off;
    include /etc/nginx/fastcgi_params;
    fastcgi_param SCRIPT_FILENAME {backend};
    fastcgi_param GIT_PROJECT_ROOT {root};
    fastcgi_param GIT_HTTP_EXPORT_ALL 1;
    fastcgi_param PATH_INFO $uri;
}}"""


class Git:
    """`git clone http://…`, the smart protocol."""

    name: str = "git"

    @contextmanager
    def open(self, stage: Stage) -> Iterator[Mapping[str, Program]]:
        origin = stage.origin
        make_repository(stage.content, origin.folder / "repositories" / "lab.git")
        socket = origin.folder / "fcgi.socket"
        origin.start(
            [program("fcgiwrap"), "-c", str(len(stage.agents)), "-s", f"unix:{socket}"], QUIET, log="fcgiwrap.log"
        )
        backend = Path(_git("--exec-path")) / "git-http-backend"
        start_nginx(origin, LOCATION.format(socket=socket, backend=backend, root=origin.folder / "repositories"))
        clone = f"{program('git')} clone --quiet http://{origin.address}/lab.git copy"
        yield {name: host.start(waiting(host, clone), QUIET) for name, host in stage.agents.items()}

    def copy(self, host: Host) -> Path:
        return host.folder / "copy" / "content.bin"

    def restart(self, stage: Stage, host: Host) -> None:
        raise LabError("git has no node to restart")


def make_repository(content: Path, bare: Path) -> None:
    """One commit of one file, packed."""
    _git("init", "--quiet", "--bare", str(bare))
    blob = _git("--git-dir", str(bare), "hash-object", "-w", str(content))
    tree = _git("--git-dir", str(bare), "mktree", said=f"100644 blob {blob}\tcontent.bin\n")
    commit = _git("--git-dir", str(bare), "commit-tree", "-m", "Content", tree)
    _git("--git-dir", str(bare), "update-ref", "HEAD", commit)
    _git("--git-dir", str(bare), "repack", "-adq")


def _git(*words: str, said: str = "") -> str:
    done = subprocess.run(
        [program("git"), *words], input=said, env={**os.environ, **QUIET}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise LabError(f"git {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()
