"""What strangers may send, and what it may cost."""

import http.client
import json
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from tests.edge.conftest import BIG, Edge
from tests.edge.harness import gateway, whole_answer
from tests.node.members_up import until

TRAVERSALS = [
    "/../../etc/passwd",
    "/links/../../../etc/passwd",
    "/links/{link}/../../etc/passwd",
    "/links/{link}/%2e%2e/%2e%2e/etc/passwd",
    "/links/{link}/..%2f..%2fetc%2fpasswd",
    "/links/{link}/%252e%252e/x",
    "/links/{link}/elsewhere",
    "/links/{link}/sub/../small.txt",
    "/links/{link}//small.txt",
    "/links/{link}/small.txt%00",
    "/links/{link}/\\..\\x",
    "/refs/team/site/../../x",
    "/refs/../links/x",
    "/refs/team/%2e%2e",
    "/refs/team/site@99999999999999999999999",
    "/refs/team/site@-1",
    "/refs/team/site@1@2",
    "/refs/%ff%fe",
    "/blobs/../x",
    "/" + "a/" * 3000,
    "/links/" + "%" * 100,
    "*",
    "http://evil.example/links/{link}",
]


def raw(edge: Edge, request: bytes) -> bytes:
    """What comes back for these bytes, until the gateway closes."""
    with edge.gateway.connect() as connection:
        with suppress(ConnectionError):
            connection.sendall(request)
        return whole_answer(connection)


@pytest.mark.parametrize("path", TRAVERSALS)
def test_path_tricks(edge: Edge, path: str) -> None:
    target = path.format(link=edge.link)
    request = f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {edge.token}\r\nConnection: close\r\n\r\n"
    answer = raw(edge, request.encode())
    assert answer.split(b" ", 2)[1] in {b"404", b"400"}, answer[:200]
    assert b"root:" not in answer


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % each for each in range(5000)) + b"\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /links HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n",
        b"G\x00T / HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=lambda request: repr(request[:24]),
)
def test_what_is_no_request(edge: Edge, request_bytes: bytes) -> None:
    answer = raw(edge, request_bytes)
    assert answer == b"" or answer.split(b" ", 2)[1] in {b"400", b"401", b"404", b"431", b"414"}, answer[:200]
    for tell in (b"Traceback", b"aiohttp", b"Python", b".py", b"Error"):
        assert tell not in answer
    assert edge.gateway.ask("/healthz").status == 200


def test_methods(edge: Edge) -> None:
    for method in ("DELETE", "PATCH", "OPTIONS", "TRACE"):
        answer = edge.gateway.ask(f"/links/{edge.link}/small.txt", method=method)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, PUT, POST")
    assert edge.gateway.ask("/healthz", method="MADEUP").status == 400


def test_ranges_and_queries_that_make_no_sense(edge: Edge) -> None:
    path = f"/links/{edge.link}/big.bin"
    for header in (
        "bytes=",
        "bytes=-",
        "bytes=x-y",
        "bytes=5-1",
        "bytes 1-2",
        "bytes=1-2,x",
        "bytes=" + "9" * 30 + "-",
    ):
        assert edge.gateway.ask(path, Range=header).body == BIG
    for header in ("bytes=99999999-", "bytes=-0", "bytes=" + "0-0," * 5000 + "1-1"):
        assert edge.gateway.ask(path, Range=header).status in {416, 400}
    assert edge.gateway.ask(f"{path}?{'&'.join('a=b' for _ in range(500))}").status == 200


def test_headers_that_never_end(edge: Edge, tmp_path: Path) -> None:
    with gateway(edge.home, tmp_path, "header_timeout = 1\nidle_timeout = 2") as running, ExitStack() as opened:
        started = time.monotonic()
        silent, slow, idle = (opened.enter_context(running.connect()) for _ in range(3))
        slow.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200")
        with suppress(ConnectionError):
            while time.monotonic() < started + 20:
                slow.sendall(b"X: y\r\n")
                time.sleep(0.1)
        assert time.monotonic() < started + 20, "a header a tenth of a second, for ever"
        assert whole_answer(silent) == b""
        assert whole_answer(idle) == b""


def test_clients_that_take_nothing_are_left(edge: Edge, tmp_path: Path) -> None:
    with gateway(edge.home, tmp_path, 'stall_timeout = 1\nbody_memory = "4MiB"') as running, ExitStack() as opened:
        running.token = edge.token
        for _ in range(12):
            stuck = opened.enter_context(socket.socket())
            stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stuck.connect((running.host, running.port))
            head = f"GET /links/{edge.link}/big.bin HTTP/1.1\r\nHost: x\r\n"
            stuck.sendall(f"{head}Authorization: Bearer {edge.token}\r\n\r\n".encode())
        assert running.ask(f"/links/{edge.link}/big.bin").body == BIG


def test_clients_that_ask_on_and_take_nothing_are_left(edge: Edge, tmp_path: Path) -> None:
    """Answers that are ready are small; many of them, asked for at once and not taken, are not."""
    chunk = f"/refs/team/site/text.txt?{'x' * 100}"
    with gateway(edge.home, tmp_path, "stall_timeout = 1") as running, ExitStack() as opened:
        for path, times in ((chunk, 40), (f"/links/{edge.link}/?format=json", 20_000)):
            stuck = opened.enter_context(running.connect())
            head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {edge.token}\r\n\r\n".encode()
            stuck.settimeout(1)
            with suppress(OSError):
                stuck.sendall(head * times)
        alone = b"forge_gateway_connections 1.0"
        until(lambda: alone in running.ask("/metrics").body, "nobody else is connected")


@pytest.mark.parametrize("query", [b"\xff", b"\xc3\x9f", b"a=\x01", b"%0d%0aX:y", b"a b"])
def test_a_query_that_a_redirect_would_repeat(edge: Edge, query: bytes) -> None:
    answer = raw(edge, b"GET /refs/team/site/sub?" + query + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.split(b" ", 2)[1] in {b"308", b"400"}, answer
    assert b"\r\nX:" not in answer


def test_old_clients(edge: Edge) -> None:
    for sent, stays in ((b"", False), (b"Connection: keep-alive\r\n", True)):
        with edge.gateway.connect() as connection:
            connection.sendall(b"GET /refs/team/site/small.txt HTTP/1.0\r\n" + sent + b"\r\n")
            first = connection.recv(65536)
            assert first.startswith(b"HTTP/1.1 200 OK\r\n")
            assert first.endswith(b"\r\n\r\nhello\n")
            assert (b"\r\nConnection: keep-alive\r\n" in first) is stays
            assert b"\r\nDate: " in first
            if stays:
                connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert bool(whole_answer(connection)) is stays


def test_a_flood_of_requests(edge: Edge, tmp_path: Path) -> None:
    with gateway(edge.home, tmp_path, "rate = 5\nburst = 10") as running:
        connection = http.client.HTTPConnection(running.host, running.port, timeout=30)
        seen = []
        for _ in range(100):
            connection.request("GET", f"/links/{edge.link}", headers={"Authorization": f"Bearer {edge.token}"})
            answer = connection.getresponse()
            answer.read()
            seen.append(answer.status)
            if answer.status == 429:
                assert int(answer.headers["Retry-After"]) >= 1
        connection.close()
        assert seen[:5] == [308] * 5
        assert seen.count(429) > 10
        assert running.ask("/healthz").status == 200, "balancers are not limited"


def test_more_connections_than_are_held(edge: Edge, tmp_path: Path) -> None:
    with gateway(edge.home, tmp_path, "max_connections = 20") as running, ExitStack() as opened:
        before = psutil.Process(running.process.pid).memory_info().rss
        for _ in range(200):
            held = opened.enter_context(running.connect())
            with suppress(ConnectionError):
                held.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert psutil.Process(running.process.pid).memory_info().rss < before + 50_000_000
        opened.close()
        deadline = time.monotonic() + 20
        while True:
            with suppress(OSError, http.client.HTTPException):
                if running.ask("/healthz").status == 200:
                    break
            assert time.monotonic() < deadline


def test_claimed_addresses_are_not_believed(edge: Edge, tmp_path: Path) -> None:
    with gateway(edge.home, tmp_path) as running:
        running.ask("/refs/team/site", X_Forwarded_For="203.0.113.9")
        assert running.ask("/metrics", X_Forwarded_For="203.0.113.9").status == 200
        until(lambda: '"client":"127.0.0.1"' in running.log.read_text(), "the client is the proxy itself")
        assert "203.0.113.9" not in running.log.read_text()
    with gateway(edge.home, tmp_path, 'proxies = ["127.0.0.1"]') as running:
        running.ask("/refs/team/site", X_Forwarded_For="198.51.100.1, 203.0.113.9")
        until(lambda: '"client":"203.0.113.9"' in running.log.read_text(), "the client is whom it speaks for")
        assert running.ask("/metrics", X_Forwarded_For="203.0.113.9").status == 404


@pytest.mark.parametrize(
    "headers",
    [
        "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-For: 203.0.113.9",  # the client's, then the proxy's own
        "X-Forwarded-For: 127.0.0.1, 203.0.113.9:4711",
        "X-Forwarded-For: 127.0.0.1, unknown",
        "X-Forwarded-For: ",
    ],
)
def test_nobody_behind_a_proxy_is_taken_for_a_scraper(edge: Edge, tmp_path: Path, headers: str) -> None:
    with gateway(edge.home, tmp_path, 'proxies = ["127.0.0.1"]') as running, running.connect() as connection:
        connection.sendall(f"GET /metrics HTTP/1.1\r\nHost: x\r\n{headers}\r\nConnection: close\r\n\r\n".encode())
        assert whole_answer(connection).startswith(b"HTTP/1.1 404 ")


def test_the_log_has_every_request_when_the_gateway_has_gone(edge: Edge, tmp_path: Path) -> None:
    with gateway(edge.home, tmp_path, 'public = ["team/site"]') as running:
        for number in range(30):
            running.ask(f"/refs/team/site/{number}")
    lines = [json.loads(line) for line in running.log.read_text().splitlines()]
    assert [each["path"] for each in lines] == [f"/refs/team/site/{number}" for number in range(30)]
    assert {(each["status"], each["who"], each["bytes"]) for each in lines} == {(404, "anonymous", 4)}


def test_nothing_that_happened_was_a_defect(edge: Edge) -> None:
    assert "Traceback" not in edge.gateway.errors.read_text()
    assert b"forge_gateway_failures_total 0.0" in edge.gateway.ask("/metrics").body
