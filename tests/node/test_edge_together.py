"""Agents of one site that fetch the same at once, each in a process of its own, from a bucket behind a CDN."""

import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.cli.harness import COMMAND, environment
from tests.node.harness import contents, node, noise
from tests.node.members_up import connected, homes, said, until

FILES, SIZE = 6, 4 << 20
RATE = 8e6
"""Bytes a second that the CDN sends in all."""


@dataclass(slots=True)
class Cdn:
    """Serves ranges of what lies in a folder, no faster than `RATE`, and counts them. `broken`: it answers 503."""

    folder: Path
    broken: bool = False
    sent: int = 0
    refused: int = 0
    address: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _free_at: float = 0.0

    def read(self, path: str, asked: str) -> tuple[bytes, int, int] | None:
        """What a range of an object is, where it begins, and how large the object is."""
        file = self.folder / path.lstrip("/")
        bounds = re.fullmatch(r"bytes=(\d+)-(\d+)", asked)
        if not file.is_file():
            return None
        whole = file.read_bytes()
        start, end = (int(bounds[1]), int(bounds[2]) + 1) if bounds else (0, len(whole))
        data = whole[start:end]
        with self._lock:
            self.sent += len(data)
            self._free_at = max(self._free_at, time.monotonic()) + len(data) / RATE
            wait = self._free_at - time.monotonic()
        time.sleep(max(wait, 0.0))
        return data, start, len(whole)


@contextmanager
def serving(cdn: Cdn) -> Iterator[Cdn]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found = None if cdn.broken else cdn.read(self.path, self.headers.get("Range", ""))
            if found is None:
                cdn.refused += 1
                self.send_response(503 if cdn.broken else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data, start, size = found
            self.send_response(206 if "Range" in self.headers else 200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Content-Range", f"bytes {start}-{start + len(data) - 1}/{size}")
            self.send_header("Last-Modified", self.date_time_string(0))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    cdn.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield cdn
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def cdn(tmp_path: Path) -> Iterator[Cdn]:
    with serving(Cdn(tmp_path / "bucket")) as started:
        yield started


def published(tmp_path: Path) -> tuple[Path, str]:
    """A tree that lies in the bucket and at no member; its link."""
    source = tmp_path / "source"
    source.mkdir()
    for number in range(FILES):
        (source / str(number)).write_bytes(noise(number, SIZE))
    publisher = tmp_path / "publisher"
    link = said(publisher, "add", str(source)).split()[-1]
    said(publisher, "edge", "set", f"file://{tmp_path / 'bucket'}")
    said(publisher, "edge", "push", link)
    return source, link


def all_get(tmp_path: Path, link: str, cdn: Cdn, *agents: str) -> list[Path]:
    """Every member gets it at once; where they put it."""
    members = homes(tmp_path / "members", *agents)
    with ExitStack() as up:
        for home in members:
            said(home, "edge", "set", f"file://{tmp_path / 'bucket'}", "--cdn", cdn.address)
            up.enter_context(node(home, "up"))
        until(lambda: all(len(connected(home)) == len(members) - 1 for home in members), "all are connected")
        places = [tmp_path / "there" / home.name for home in members]
        gets = [
            subprocess.Popen([*COMMAND, "--quiet", "get", link, str(place)], env=environment(home))
            for home, place in zip(members, places, strict=True)
        ]
        assert [get.wait(60) for get in gets] == [0] * len(gets)
    return places


def test_what_one_reads_the_others_get_from_it(tmp_path: Path, cdn: Cdn) -> None:
    source, link = published(tmp_path)
    for place in all_get(tmp_path, link, cdn, "one", "two", "three", "four"):
        assert contents(place) == contents(source)
    assert FILES * SIZE < cdn.sent < 2 * FILES * SIZE, "four times as much if each of them had read everything"


def test_a_cdn_that_fails_costs_no_content(tmp_path: Path, cdn: Cdn) -> None:
    cdn.broken = True
    source, link = published(tmp_path)
    for place in all_get(tmp_path, link, cdn, "one", "two"):
        assert contents(place) == contents(source)
    assert not cdn.sent
    assert cdn.refused <= 40, "it is left alone"
