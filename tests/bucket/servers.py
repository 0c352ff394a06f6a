"""Real object stores for the tests: moto's S3 server, R2 and Azure's blobs as their makers' own simulators have them.

Each test process starts one of each when it first needs it, and ends it. Miniflare and Azurite come from npm, into a
cache folder that all runs share; `.ci/tools` installs node and npm.
"""

import atexit
import hmac
import os
import re
import shutil
import string
import subprocess
import sys
import tempfile
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from functools import cache
from pathlib import Path

from forge_p2p.config import EdgeConfig
from tests.bucket.faults import FaultProxy

MINIFLARE = "4.20260730.0"
"""The first with an S3 endpoint is 4.20260722.1."""

AZURITE = "3.35.0"

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

AZURE_KEYS = {
    "AZURE_STORAGE_ACCOUNT_NAME": "forgetest",
    "AZURE_STORAGE_ACCOUNT_KEY": b64encode(b"a key that this simulator takes").decode(),
}

_AZURE = string.Template(r"""
import { spawn } from "node:child_process";
process.env.AZURITE_ACCOUNTS = "$AZURE_STORAGE_ACCOUNT_NAME:$AZURE_STORAGE_ACCOUNT_KEY";
const words = ["--blobPort", "0", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"];
const program = "node_modules/azurite/dist/src/blob/main.js";
const server = spawn(process.execPath, [program, ...words], { stdio: ["ignore", "pipe", "ignore"] });
server.stdout.on("data", (data) => {
    const found = /successfully listens on (\S+)/.exec(data);
    if (found) console.log("ready " + found[1]);
});
process.stdin.on("end", () => { server.kill(); process.exit(0); }).resume();
""").substitute(AZURE_KEYS)


@cache
def moto() -> str:
    """The address of an S3 server with a bucket called forge. It takes any secret."""
    address = _start([sys.executable, "-c", _MOTO], Path.cwd())
    urllib.request.urlopen(urllib.request.Request(f"{address}/forge", method="PUT"), timeout=60).close()
    return address


@cache
def r2() -> str:
    """The address of R2's S3 API, with a bucket called forge. It checks signatures."""
    return _start_node(_R2, _from_npm("miniflare", MINIFLARE)) + "/cdn-cgi/local/r2/s3"


@cache
def azure() -> str:
    """The address of Azure's blob API, with a container called forge. It checks signatures."""
    account = AZURE_KEYS["AZURE_STORAGE_ACCOUNT_NAME"]
    endpoint = _start_node(_AZURE, _from_npm("azurite", AZURITE)) + f"/{account}"
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    about = "".join(f"{name}:{value}\n" for name, value in headers.items())
    signed = "PUT" + "\n" * 12 + about + f"/{account}/{account}/forge\nrestype:container"
    key = b64decode(AZURE_KEYS["AZURE_STORAGE_ACCOUNT_KEY"])
    signature = b64encode(hmac.digest(key, signed.encode(), "sha256")).decode()
    headers |= {"Authorization": f"SharedKey {account}:{signature}", "Content-Length": "0"}
    request = urllib.request.Request(f"{endpoint}/forge?restype=container", method="PUT", headers=headers)
    urllib.request.urlopen(request, timeout=60).close()
    return endpoint


def _from_npm(package: str, version: str) -> Path:
    """The folder in which a package is installed; two test processes that start at once agree on one."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "forge-tests"
    folder = base / f"{package}-{version}"
    if not folder.exists():
        assert shutil.which("npm"), "the tests need npm: apt-get install nodejs npm"
        base.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=base))
        (fresh / "package.json").write_text("{}")
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", f"{package}@{version}"]
        subprocess.run(command, cwd=fresh, check=True, stdout=subprocess.DEVNULL, timeout=300)
        try:
            fresh.rename(folder)
        except OSError:
            shutil.rmtree(fresh)
    return folder


def _start_node(script: str, folder: Path) -> str:
    path = folder / f"serve-{os.getpid()}.mjs"
    path.write_text(script)
    atexit.register(path.unlink, missing_ok=True)
    return _start(["node", str(path)], folder)


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
            return match[1].rstrip("/")
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
def on_azure(tmp_path: Path) -> Iterator[EdgeConfig]:
    yield EdgeConfig(f"az://forge/{os.urandom(8).hex()}", endpoint=azure(), credentials=AZURE_KEYS)


@contextmanager
def behind_faults(tmp_path: Path) -> Iterator[tuple[EdgeConfig, FaultProxy]]:
    """A bucket at moto, behind a proxy that can do harm."""
    with FaultProxy(moto()) as proxy:
        yield _at(proxy.address), proxy


def _at(endpoint: str) -> EdgeConfig:
    return EdgeConfig(f"s3://forge/{os.urandom(8).hex()}", endpoint=endpoint, region="auto", credentials=KEYS)
