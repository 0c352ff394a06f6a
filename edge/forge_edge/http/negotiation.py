"""What a client takes: encodings and forms, and which of them it gets; what it has already."""

import mimetypes
from typing import Final

_TYPES = mimetypes.MimeTypes()
"""Python's own table alone: what the machine's files say must not change what is served."""

_COMPRESSIBLE: Final = ("application/javascript", "application/json", "application/xml", "image/svg+xml")

OCTETS: Final = "application/octet-stream"


def accepted_encodings(header: str) -> frozenset[str]:
    """Which of zstd and gzip the client takes (RFC 9110, 12.5.3); quality 0 refuses."""
    found = set()
    for part in header.lower().split(","):
        name, _, parameters = part.partition(";")
        if name.strip() in {"zstd", "gzip"} and not _is_zero(parameters):
            found.add(name.strip())
    return frozenset(found)


def _is_zero(parameters: str) -> bool:
    name, _, value = parameters.strip().partition("=")
    return name.strip() == "q" and value.strip().rstrip("0") in {"", "0.", "."} and bool(value.strip())


def wants_json(accept: str, query_format: str) -> bool:
    """Whether a directory is wanted as JSON: `?format=json`, or an Accept that names JSON and not HTML."""
    if query_format:
        return query_format == "json"
    accept = accept.lower()
    return "application/json" in accept and "text/html" not in accept


def content_type(path: bytes) -> str:
    """By the name's ending; bytes that nothing is known about otherwise."""
    name = path.rpartition(b"/")[2].decode("utf-8", "replace")
    kind, encoding = _TYPES.guess_type(name, strict=True)
    if encoding is not None or kind is None:
        return OCTETS
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def is_compressible(kind: str) -> bool:
    """Whether compressing on the fly is worth the processor's time."""
    return kind.startswith(("text/", *_COMPRESSIBLE))


def matches(header: str, etag: str) -> bool:
    """Whether an If-None-Match or If-Match header names `etag`; the weak comparison, as for If-None-Match."""
    if header.strip() == "*":
        return True
    return any(each.strip().removeprefix("W/") == etag for each in header.split(","))
