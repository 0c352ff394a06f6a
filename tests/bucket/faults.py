"""A proxy in front of an object store that answers, cuts, stalls and damages as it is told."""

import http.client
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit


@dataclass(slots=True)
class Fault:
    """What happens to requests that `wanted` (method and path) says yes to, the first `times` of them.

    `status`: answered so, with `code` in the body, and not passed on. `after`: passed on first, so that it takes
    effect. `cut`: the answer ends after so many bytes of its body (of one that is passed on) and the connection with
    it; -1: before its head. `stall`: seconds before the answer. `rate`: bytes a second of the body. `flip`: the byte of
    the body that is changed; -1: none."""

    wanted: Callable[[str, str], bool] = lambda method, path: True
    times: int = 1
    status: int = 0
    code: str = "InjectedFault"
    after: bool = False
    cut: int | None = None
    stall: float = 0.0
    rate: float = 0.0
    flip: int = -1
    met: int = 0


@dataclass(slots=True)
class FaultProxy:
    """`faults` are looked through in their order, the first that fits happens."""

    upstream: str
    faults: list[Fault] = field(default_factory=list)
    seen: list[tuple[str, str]] = field(default_factory=list)
    _server: ThreadingHTTPServer | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def address(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_port}{urlsplit(self.upstream).path}"

    def __enter__(self) -> Self:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                proxy.serve(self)

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _serve  # noqa: N815  # the library's names

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        """One request, with what befalls it."""
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        fault = self._fault(request.command, request.path)
        if fault is None:
            self._pass_on(request, body, Fault())
            return
        if fault.stall:
            time.sleep(fault.stall)
        if fault.status:
            if fault.after:
                self._ask(request, body)
            text = f"<Error><Code>{fault.code}</Code><Message>injected</Message></Error>".encode()
            _answer(request, fault.status, {"Content-Type": "application/xml"}, text, Fault())
            return
        self._pass_on(request, body, fault)

    def _fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            self.seen.append((method, path))
            for fault in self.faults:
                if fault.met < fault.times and fault.wanted(method, path):
                    fault.met += 1
                    return fault
        return None

    def _pass_on(self, request: BaseHTTPRequestHandler, body: bytes, fault: Fault) -> None:
        status, headers, answer = self._ask(request, body)
        if fault.flip >= 0 and answer:
            changed = bytearray(answer)
            changed[fault.flip % len(changed)] ^= 0xFF
            answer = bytes(changed)
        _answer(request, status, headers, answer, fault)

    def _ask(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        parts = urlsplit(self.upstream)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        try:
            # The Host stays what the client signed.
            connection.request(request.command, request.path, body, dict(request.headers.items()))
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()


_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


def _answer(request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes, fault: Fault) -> None:
    try:
        if fault.cut == -1:
            request.close_connection = True
            return
        request.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in _HOP:
                request.send_header(name, value)
        head = request.command == "HEAD"
        length = next((value for name, value in headers.items() if name.lower() == "content-length"), "0")
        request.send_header("Content-Length", length if head else str(len(body)))
        request.end_headers()
        if head:
            return
        _write(request, body if fault.cut is None else body[: fault.cut], fault.rate)
        request.close_connection |= fault.cut is not None
    except ConnectionError:
        request.close_connection = True


def _write(request: BaseHTTPRequestHandler, body: bytes, rate: float) -> None:
    if not rate:
        request.wfile.write(body)
        return
    step = 16 * 1024
    for start in range(0, len(body), step):
        request.wfile.write(body[start : start + step])
        time.sleep(step / rate)
