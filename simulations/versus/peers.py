"""The contenders' programs: how each is started, served and told what to do, Forge like the others."""

import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from simulations.versus.process import Failed, Service

_PACKAGES = {
    "zsyncmake": "zsync",
    "nginx": "nginx-light",
    "wrk": "wrk",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "ip": "iproute2",
}
"""Debian's packages, where they are not called as the program is."""


def program(name: str) -> str:
    """The full path of `name`. Raises `Failed` with the command that installs it."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise Failed(f"{name} is not installed: apt-get install {_PACKAGES.get(name, name)}")
    return found


@dataclass(frozen=True, slots=True)
class Forge:
    """`forge` as installed beside this interpreter, with `home` as its folder."""

    home: Path

    def command(self, *arguments: str | os.PathLike[str]) -> list[str | os.PathLike[str]]:
        return [str(Path(sys.executable).parent / "forge"), "--home", self.home, *arguments]

    @contextmanager
    def sharing(self, path: Path) -> Iterator[tuple[Service, str]]:
        """A node that shares `path`, and the ticket."""
        with Service(self.command("share", path)) as service:
            yield service, service.last_line()


@dataclass(frozen=True, slots=True)
class RsyncDaemon:
    """rsync's daemon on loopback, plain TCP, serving one folder as the module `src`."""

    port: int

    @property
    def url(self) -> str:
        """Of the module, with a slash."""
        return f"rsync://127.0.0.1:{self.port}/src/"

    @classmethod
    @contextmanager
    def serving(cls, source: Path, work: Path) -> Iterator["tuple[RsyncDaemon, Service]"]:
        port = free_port()
        work.mkdir(parents=True, exist_ok=True)
        configuration = work / "rsyncd.conf"
        owner = f"uid = {os.getuid()}\ngid = {os.getgid()}\n" if os.getuid() == 0 else ""
        configuration.write_text(
            f"use chroot = no\naddress = 127.0.0.1\nport = {port}\n[src]\npath = {source}\nread only = yes\n{owner}"
        )
        with Service([program("rsync"), "--daemon", "--no-detach", "--config", configuration]) as service:
            wait_for(port)
            yield cls(port), service

    def command(self, destination: Path, name: str = "") -> list[str | os.PathLike[str]]:
        """`rsync -a` of the whole module, or of one file in it."""
        return [program("rsync"), "-a", "--stats", self.url + name, destination]


LOOPBACK = "127.0.0.1"

_NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr crit;
user root;
events {{}}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    fastcgi_temp_path {folder}/fastcgi;
    proxy_temp_path {folder}/proxy;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    server {{
        listen {address}:{port};
        {served}
    }}
}}
"""


@contextmanager
def nginx(folder: Path, served: str, address: str = LOOPBACK) -> Iterator[int]:
    """nginx, with `served` as what its server block says besides; its port. `folder` exists not yet."""
    port = free_port()
    folder.mkdir(parents=True)
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, served=served, address=address, port=port))
    with Service([program("nginx"), "-c", folder / "nginx.conf"]):
        wait_for(port, address)
        yield port


def free_port() -> int:
    """A TCP port on loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, address: str = LOOPBACK) -> None:
    """Until somebody listens on it. Raises `Failed`."""
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex((address, port)) == 0:
                return
        time.sleep(0.01)
    raise Failed(f"nothing listens on port {port}")
