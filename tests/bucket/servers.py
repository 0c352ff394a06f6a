"""Real object stores for the tests: moto's S3 server, and R2 as Cloudflare's own simulator has it.

Each test process starts one of each when it first needs it, and ends it. Miniflare comes from npm, into a cache folder
that all runs share; `.ci/run` installs node and npm.
"""

import atexit
import os
import re
import shutil
import string
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from forge_p2p.config import EdgeConfig
from tests.bucket.faults import FaultProxy

MINIFLARE = "4.20260730.0"
"""The first with an S3 endpoint is 4.20260722.1."""

KEYS = {"AWS_ACCESS_KEY_ID": "forge-test-id", "AWS_SECRET_ACCESS_KEY": "forge-test-secret"}

_R2 = string.Template("""
import { Miniflare } from "miniflare";
const s3Credentials = { accessKeyId: "$AWS_ACCESS_KEY_ID", secretAccessKey: "$AWS_SECRET_ACCESS_KEY" };
const script = "export default { fetch() { return new Response('') } }";
const buckets = { BUCKET: { id: "forge", s3Credentials } };
const server = new Miniflare({ modules: true, script, r2Buckets: buckets, host: "127.0.0.1", port: 0 });
console.log("ready " + (await server.ready).href);
process.stdin.on("end", () => server.dispose().then(() => process.exit(0))).resume();
""").substitute(KEYS)

_MOTO = """
import sys, threading
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0)
server.start()
print("ready http://127.0.0.1:%d/" % server.get_host_and_port()[1], flush=True)
sys.stdin.read()
server.stop()
"""


@cache
def moto() -> str:
    """The address of an S3 server with a bucket called forge. It takes any secret."""
    address = _start([sys.executable, "-c", _MOTO], Path.cwd()).rstrip("/")
    urllib.request.urlopen(urllib.request.Request(f"{address}/forge", method="PUT"), timeout=60).close()
    return address


@cache
def r2() -> str:
    """The address of R2's S3 API, with a bucket called forge. It checks signatures."""
    folder = _miniflare()
    script = folder / f"serve-{os.getpid()}.mjs"
    script.write_text(_R2)
    atexit.register(script.unlink, missing_ok=True)
    return _start(["node", str(script)], folder).rstrip("/") + "/cdn-cgi/local/r2/s3"


def _miniflare() -> Path:
    """The folder in which miniflare is installed; two test processes that start at once agree on one."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "forge-tests"
    folder = base / f"miniflare-{MINIFLARE}"
    if not folder.exists():
        assert shutil.which("npm"), "the tests need npm: apt-get install nodejs npm"
        base.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=base))
        (fresh / "package.json").write_text("{}")
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", f"miniflare@{MINIFLARE}"]
        subprocess.run(command, cwd=fresh, check=True, stdout=subprocess.DEVNULL, timeout=300)
        try:
            fresh.rename(folder)
        except OSError:
            shutil.rmtree(fresh)
    return folder


def _start(command: list[str], folder: Path) -> str:
    """Starts a server that says where it listens and ends when its input does."""
    server = subprocess.Popen(
        command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert server.stdout is not None
    assert server.stdin is not None
    atexit.register(_stop, server)
    for line in server.stdout:
        if match := re.match(r"ready (\S+)", line):
            return match[1]
    raise AssertionError(f"{command} did not start")


def _stop(server: "subprocess.Popen[str]") -> None:
    assert server.stdin is not None
    server.stdin.close()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


@contextmanager
def on_moto(tmp_path: Path) -> Iterator[EdgeConfig]:
    yield _at(moto())


@contextmanager
def on_r2(tmp_path: Path) -> Iterator[EdgeConfig]:
    yield _at(r2())


@contextmanager
def behind_faults(tmp_path: Path) -> Iterator[tuple[EdgeConfig, FaultProxy]]:
    """A bucket at moto, behind a proxy that can do harm."""
    with FaultProxy(moto()) as proxy:
        yield _at(proxy.address), proxy


def _at(endpoint: str) -> EdgeConfig:
    return EdgeConfig(f"s3://forge/{os.urandom(8).hex()}", endpoint=endpoint, region="auto", credentials=KEYS)
