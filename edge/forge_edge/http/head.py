"""The head of an answer as bytes: made once for an answer that is sent many times, but for its date."""

import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus


def head_of(status: int, headers: Mapping[str, str], size: int) -> bytes:
    """Status line and headers of an answer with `size` bytes of body, without Date and the empty line at the end. 304
    says no length: it would have to be that of the content (RFC 9110, 8.6). Raises `ValueError` for a value that would
    end its line."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    if status != HTTPStatus.NOT_MODIFIED:
        lines.append(f"Content-Length: {size}")
    if any(not line.isprintable() for line in lines):
        raise ValueError("a header of an answer cannot be printed")
    return "\r\n".join(lines).encode() + b"\r\n"


def date_now() -> bytes:
    """The Date header with its line's end."""
    return _date(int(time.time()))


@lru_cache(maxsize=2)
def _date(second: int) -> bytes:
    return f"Date: {formatdate(second, usegmt=True)}\r\n".encode()
