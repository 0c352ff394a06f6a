"""GET and HEAD: the answer to a resource, ready where it is small, streamed where it is not."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from secrets import token_hex
from typing import Final

from aiohttp import web

from forge_edge.content.runs import Raw
from forge_edge.http.negotiation import accepted_encodings, content_type, is_compressible, matches, wants_json
from forge_edge.http.page import POLICY, SANDBOX, directory_json, directory_page
from forge_edge.http.ranges import Span, Unsatisfiable, content_range, parse_ranges
from forge_edge.serving.answers import Answer
from forge_edge.serving.finding import FOREVER, Resource
from forge_edge.serving.gateway import Gateway
from forge_edge.serving.request import Asked
from forge_edge.serving.sending import streamed
from forge_p2p.content.codec import Codec, EncodedChunk, decode
from forge_p2p.content.link import Link

GZIP_FROM: Final = 512
"""Bytes below which compressing saves nothing worth a thread."""

GZIP_LEVEL: Final = 5
GZIP_BITS: Final = zlib.MAX_WBITS | 16
"""That make zlib write gzip's header and end."""

SECURITY: Final = {"Server": "forge", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


async def answer(gateway: Gateway, asked: Asked, resource: Resource, slash: bool) -> Answer | web.StreamResponse:
    """The whole answer, or the response that was sent already."""
    if resource.link is None:
        return await _directory(gateway, asked, resource, slash)
    if slash:
        return not_found()
    return await _file(gateway, asked, resource, resource.link)


def not_found() -> Answer:
    """What is not there, and what is not for this client: the same bytes for both."""
    return Answer(404, {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store", **SECURITY}, b"404\n")


def headers_of(asked: Asked, resource: Resource) -> dict[str, str]:
    """What all answers about a resource say."""
    is_public = asked.grant is not None and asked.grant.who == "anonymous"
    scope = "public" if is_public else "private"
    immutable = ", immutable" if resource.age == FOREVER else ""
    return {
        **SECURITY,
        **resource.headers,
        "Cache-Control": f"{scope}, max-age={int(resource.age)}{immutable}",
        "Vary": "Accept, Accept-Encoding" if is_public else "Accept, Accept-Encoding, Authorization",
    }


async def _directory(gateway: Gateway, asked: Asked, resource: Resource, slash: bool) -> Answer:
    headers = headers_of(asked, resource)
    if not slash:
        here = asked.path.rpartition("/")[2]
        query = asked.raw.raw_path.partition("?")[2]
        goes_on = f"?{query}" if query.isascii() and query.isprintable() and query else ""
        return Answer(308, {**headers, "Location": f"./{here}/{goes_on}"}, b"")
    as_json = wants_json(asked.header("Accept"), asked.query.get("format", ""))
    link = resource.place.root.link
    etag = f'"{link.hash.hex()}-{"json" if as_json else "html"}"'
    headers["ETag"] = etag
    if matches(asked.header("If-None-Match"), etag):
        return Answer(304, headers, b"")
    if as_json:
        headers["Content-Type"] = "application/json"
    else:
        headers |= {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": POLICY}
    # In a thread: a directory of 100,000 names takes half a second, in which everybody else would wait.
    loop = asyncio.get_running_loop()
    body = await loop.run_in_executor(gateway.executor, _listed, resource, as_json)
    return Answer(200, headers, body)


def _listed(resource: Resource, as_json: bool) -> bytes:
    root, path = resource.place.root, resource.path
    if as_json:
        return directory_json(root, path, resource.entries)
    return directory_page(resource.title, root, path, resource.entries)


async def _file(gateway: Gateway, asked: Asked, resource: Resource, link: Link) -> Answer | web.StreamResponse:
    name = link.hash.hex()
    headers = {
        **headers_of(asked, resource),
        "Content-Type": content_type(resource.path),
        "Content-Security-Policy": SANDBOX,
        "Accept-Ranges": "bytes",
        "ETag": f'"{name}"',
    }
    none_match = asked.header("If-None-Match")
    if none_match and any(matches(none_match, f'"{name}{form}"') for form in ("", "-zstd", "-gzip")):
        return Answer(304, headers, b"")
    if link.size == 0:
        return Answer(200, headers, b"")
    wanted = asked.header("Range")
    if wanted and asked.header("If-Range") in {"", f'"{name}"'}:
        try:
            spans = parse_ranges(wanted, link.size)
        except Unsatisfiable:
            return Answer(416, {**SECURITY, "Content-Range": f"bytes */{link.size}"}, b"")
        if spans is not None:
            return await _ranges(gateway, asked, resource, link, spans, headers)
    takes = accepted_encodings(asked.header("Accept-Encoding"))
    chunk = await gateway.pieces.encoded(resource.place, link)
    if chunk is not None:
        return await _small(gateway, chunk, takes, headers)
    return await _stream(gateway, asked, resource, link, takes, headers)


async def _small(gateway: Gateway, chunk: EncodedChunk, takes: frozenset[str], headers: dict[str, str]) -> Answer:
    """One chunk: as it is stored, if the client takes that."""
    if chunk.codec == Codec.ZSTD and "zstd" in takes:
        _encode(headers, "zstd")
        return Answer(200, headers, bytes(chunk.data))
    raw = bytes(decode(chunk))
    is_worth_it = chunk.codec != Codec.RAW and len(raw) >= GZIP_FROM and is_compressible(headers["Content-Type"])
    if "gzip" in takes and is_worth_it:
        _encode(headers, "gzip")
        loop = asyncio.get_running_loop()
        packed = await loop.run_in_executor(gateway.executor, zlib.compress, raw, GZIP_LEVEL, GZIP_BITS)
        return Answer(200, headers, packed)
    return Answer(200, headers, raw)


def _encode(headers: dict[str, str], form: str) -> None:
    """Says that a file comes in this form, which has an ETag of its own."""
    headers |= {"Content-Encoding": form, "ETag": f'{headers["ETag"][:-1]}-{form}"'}


async def _stream(
    gateway: Gateway, asked: Asked, resource: Resource, link: Link, takes: frozenset[str], headers: dict[str, str]
) -> web.StreamResponse:
    place, pieces = resource.place, gateway.pieces
    if "zstd" in takes and await pieces.begins_compressed(place, link):
        _encode(headers, "zstd")
        body = pieces.read(place, link, 0, link.size, frames=True)
        return await streamed(gateway, asked, 200, headers, None, body)
    plain = pieces.read(place, link, 0, link.size)
    if "gzip" in takes and is_compressible(headers["Content-Type"]):
        _encode(headers, "gzip")
        return await streamed(gateway, asked, 200, headers, None, _gzipped(gateway, plain))
    return await streamed(gateway, asked, 200, headers, link.size, plain)


async def _gzipped(gateway: Gateway, body: AsyncIterator[list[Raw]]) -> AsyncIterator[list[Raw]]:
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_BITS)
    loop = asyncio.get_running_loop()
    async for pieces in body:
        if not pieces:
            yield []
            continue
        yield [await loop.run_in_executor(gateway.executor, packer.compress, b"".join(pieces))]
    yield [packer.flush()]


async def _ranges(
    gateway: Gateway, asked: Asked, resource: Resource, link: Link, spans: Sequence[Span], headers: dict[str, str]
) -> web.StreamResponse:
    if len(spans) == 1:
        start, stop = spans[0]
        headers["Content-Range"] = content_range(spans[0], link.size)
        body = gateway.pieces.read(resource.place, link, start, stop)
        return await streamed(gateway, asked, 206, headers, stop - start, body)
    boundary = token_hex(16)
    kind = headers["Content-Type"]
    headers["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
    heads = [
        f"\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: {content_range(span, link.size)}\r\n\r\n".encode()
        for span in spans
    ]
    end = f"\r\n--{boundary}--\r\n".encode()
    size = sum(map(len, heads)) + len(end) + sum(stop - start for start, stop in spans)
    return await streamed(gateway, asked, 206, headers, size, _multipart(gateway, resource, link, spans, heads, end))


async def _multipart(
    gateway: Gateway, resource: Resource, link: Link, spans: Sequence[Span], heads: Sequence[bytes], end: bytes
) -> AsyncIterator[list[Raw]]:
    for (start, stop), head in zip(spans, heads, strict=True):
        yield [head]
        async with aclosing(gateway.pieces.read(resource.place, link, start, stop)) as body:
            async for pieces in body:
                yield pieces
    yield [end]
