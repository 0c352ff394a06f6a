"""git's own servers on loopback, for a folder of repositories: `git daemon`, and `git http-backend` behind nginx."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simulations.versus.peers import LOOPBACK, free_port, nginx, program, wait_for
from simulations.versus.process import Failed, Service

QUIET = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_TERMINAL_PROMPT": "0",
}
"""What every git here runs with: nothing of whoever measures."""

_SERVED = """
location ~ ^/bundles/ {{ root {root}; }}
location / {{
    fastcgi_pass unix:{socket};
    fastcgi_buffering off;
    fastcgi_request_buffering off;
    include /etc/nginx/fastcgi_params;
    fastcgi_param SCRIPT_FILENAME {backend};
    fastcgi_param GIT_PROJECT_ROOT {root};
    fastcgi_param GIT_HTTP_EXPORT_ALL 1;
    fastcgi_param GIT_CONFIG_NOSYSTEM 1;
    fastcgi_param PATH_INFO $uri;
}}
"""


@contextmanager
def daemon(root: Path, address: str = LOOPBACK) -> Iterator[str]:
    """`git daemon`; the URL of `root`, with a slash."""
    port = free_port()
    words = [
        program("git"),
        "daemon",
        "--export-all",
        "--enable=receive-pack",
        "--reuseaddr",
        f"--listen={address}",
        f"--port={port}",
    ]
    with Service([*words, f"--base-path={root}", root], QUIET):
        wait_for(port, address)
        yield f"git://{address}:{port}/"


@contextmanager
def http(root: Path, folder: Path, address: str = LOOPBACK) -> Iterator[str]:
    """The smart protocol over http, and plain files below `root/bundles`. `folder` exists not yet."""
    folder.mkdir(parents=True)
    socket = folder / "fcgi.socket"
    told = subprocess.run([program("git"), "--exec-path"], check=True, capture_output=True, text=True)
    backend = Path(told.stdout.strip()) / "git-http-backend"
    with Service([program("fcgiwrap"), "-s", f"unix:{socket}"], QUIET) as service:
        service.wait_until(socket.exists)
        served = _SERVED.format(root=root, socket=socket, backend=backend)
        with nginx(folder / "nginx", served, address) as port:
            yield f"http://{address}:{port}/"


def checked(folder: Path) -> None:
    """Raises `Failed` unless git finds a repository sound."""
    done = subprocess.run(
        [program("git"), "-C", folder, "fsck", "--strict", "--connectivity-only"],
        env={**os.environ, **QUIET},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"git fsck of {folder}: {done.stdout}{done.stderr}")
