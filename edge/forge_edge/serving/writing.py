"""PUT and POST: uploads by who may write.

    PUT  /blobs/ab/cdef…   one chunk of at most 256 KiB, by the BLAKE3-256 of its bytes
    PUT  /links/LINK       a file of any size, by its link
    POST /links            a file of any size; the answer says its link

All three answer 201 with the link, once it is durable and belongs to the network; sending it again changes nothing.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import msgspec

from forge_edge.access.grants import Grant
from forge_edge.content.intake import Busy, TooLarge, WrongContent
from forge_edge.http.target import BlobTarget, LinkTarget, parse_target
from forge_edge.serving.answers import Answer
from forge_edge.serving.gateway import Gateway
from forge_edge.serving.reading import SECURITY, not_found
from forge_edge.serving.request import Asked
from forge_p2p.content.link import CHUNK_MAX, Kind, Root
from forge_p2p.content.linktext import format_link
from forge_p2p.errors import DiskFull, ForgeError, PeerError
from forge_p2p.ids import Hash

PULL: Final = 512 * 1024
"""Bytes handed to the thread that cuts a body, at least, but for the last."""

_STATUS: Final[dict[type[ForgeError], int]] = {
    WrongContent: 422,
    TooLarge: 413,
    Busy: 503,
    DiskFull: 507,
    PeerError: 503,
}


class Stored(msgspec.Struct, frozen=True):
    """What an upload became."""

    link: str
    size: int


async def take(gateway: Gateway, asked: Asked, grant: Grant) -> Answer:
    """Takes an upload and says what came of it."""
    if not grant.write or not grant.networks:
        return not_found()
    wanted: Root | Hash | None = None
    if asked.method == "PUT":
        target = parse_target(asked.path)
        if isinstance(target, BlobTarget):
            wanted = target.hash
        elif isinstance(target, LinkTarget) and target.root.kind is Kind.BLOB and not target.path and not target.slash:
            wanted = target.root
        else:
            return not_found()
    elif asked.path != "/links":
        return not_found()
    problem = _too_large(gateway, asked, wanted)
    if problem is not None:
        return problem
    return await _take(gateway, asked, grant, wanted)


async def _take(gateway: Gateway, asked: Asked, grant: Grant, wanted: Root | Hash | None) -> Answer:
    try:
        root = await gateway.uploads.take(lambda: _pull(gateway, asked), grant.networks[0], wanted)
    except ForgeError as error:
        status = next((each for kind, each in _STATUS.items() if isinstance(error, kind)), 0)
        if not status:
            raise
        return said(status, error.message if status != 507 else "the store has no room for this")
    gateway.metrics.taken.inc(root.link.size)
    text = format_link(root)
    headers = {
        **SECURITY,
        "Content-Type": "application/json",
        "Location": f"/links/{text}",
        "Cache-Control": "no-store",
    }
    return Answer(201, headers, msgspec.json.encode(Stored(text, root.link.size)))


async def _pull(gateway: Gateway, asked: Asked) -> bytes:
    """The next bytes of the body, as many as make a thread's call worth while."""
    content = asked.raw.content
    gathered: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(gateway.settings.limits.stall_timeout):
            while size < PULL and (piece := await content.readany()):
                gathered.append(piece)
                size += len(piece)
    except TimeoutError:
        raise PeerError("the body stopped coming") from None
    except (ConnectionError, asyncio.IncompleteReadError) as error:
        raise PeerError("the client went away") from error
    return b"".join(gathered)


def _too_large(gateway: Gateway, asked: Asked, wanted: Root | Hash | None) -> Answer | None:
    """What can be told from the headers, before a byte of the body is taken."""
    claimed = asked.raw.content_length
    limit = CHUNK_MAX if isinstance(wanted, bytes) else gateway.uploads.limit
    if claimed is not None and limit and claimed > limit:
        return said(413, f"the body may have at most {limit} bytes")
    if isinstance(wanted, Root) and claimed is not None and claimed != wanted.link.size:
        return said(422, f"the link names {wanted.link.size} bytes, the body has {claimed}")
    return None


def said(status: int, text: str, more: Mapping[str, str] | None = None) -> Answer:
    """An answer of one line, with `more` headers."""
    headers = {**SECURITY, "Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store", **(more or {})}
    return Answer(status, headers, f"{status} {text}\n".encode())
