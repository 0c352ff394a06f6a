"""One node in two networks with a gateway beside it, for all tests of a module that change nothing."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.edge.harness import Running, forge_edge, gateway
from tests.node import members_up
from tests.node.harness import node, noise

BIG = noise(7, 3_000_000)
TEXT = b"".join(b"line %d of many\n" % number for number in range(60_000))
SMALL = b"hello\n"


@dataclass(frozen=True, slots=True)
class Edge:
    """`link` is shared in network team, and published there as team/site; `secret` in network other."""

    gateway: Running
    home: Path
    folder: Path
    files: Path
    link: str
    secret: str
    token: str = field(repr=False)
    other: str = field(repr=False)


def said(home: Path, *words: str) -> str:
    """The last line of what a command printed."""
    return members_up.said(home, *words).rpartition("\n")[2]


def directory(folder: Path) -> Path:
    """What the tests serve."""
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "empty").mkdir()
    for name, content in {
        "big.bin": BIG,
        "text.txt": TEXT,
        "small.txt": SMALL,
        "none": b"",
        "sub/a b%20c.txt": b"spaces",
        "sub/deep/ü.html": b"<script>alert(1)</script>",
        '<b>"&.txt': b"markup",
    }.items():
        (folder / name).write_bytes(content)
    (folder / "elsewhere").symlink_to("/etc/passwd")
    return folder


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    folder = tmp_path_factory.mktemp("edge")
    home = folder / "home"
    files = directory(folder / "files")
    hidden = folder / "hidden.txt"
    hidden.write_bytes(b"what only the other network may know")
    for network in ("team", "other"):
        said(home, "network", "create", network)
    with node(home, "up", "--no-lan"):
        link = said(home, "share", str(files), "--network", "team")
        said(home, "publish", "site", str(files), "--network", "team")
        secret = said(home, "share", str(hidden), "--network", "other")
        token = forge_edge(home, "token", "--network", "team").splitlines()[-1]
        other = forge_edge(home, "token", "--network", "other").splitlines()[-1]
        with gateway(home, folder / "gateway", 'public = ["team/site"]') as running:
            running.token = token
            yield Edge(running, home, folder, files, link, secret, token, other)
