"""Every request comes through here: judged, found, answered, counted and logged."""

import asyncio
import logging
import time
from typing import Final

from aiohttp import web

from forge_edge.access.grants import Forbidden, Grant, Unauthorized
from forge_edge.http.negotiation import accepted_encodings, wants_json
from forge_edge.http.target import LinkTarget, RefTarget, parse_target
from forge_edge.serving import reading, status, writing
from forge_edge.serving.answers import Answer
from forge_edge.serving.connection import Connection
from forge_edge.serving.finding import find
from forge_edge.serving.gateway import Gateway
from forge_edge.serving.request import Asked, asked_by
from forge_edge.serving.sending import Stalled, ready
from forge_p2p.errors import CorruptChunk, ForgeError, HostileSnapshot, Malformed, NotFound, UsageError
from forge_p2p.node.control import NoNode

LOG = logging.getLogger("forge.edge")

_METHODS: Final = {"GET": "GET", "HEAD": "HEAD", "PUT": "PUT", "POST": "POST"}
_FAMILIES: Final = {name: name for name in ("blobs", "links", "refs", "healthz", "readyz", "metrics")}

ANSWER_AGE: Final = 60.0
"""Seconds for which an answer is ready: so long may what was taken out of a network still be read."""

_CONDITIONAL: Final = ("If-None-Match", "Range")


class Handler:
    """Called by aiohttp with each request."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, raw: web.BaseRequest) -> web.StreamResponse:
        started = time.perf_counter()
        connection = raw.protocol
        if isinstance(connection, Connection):
            connection.heard()
        gateway = self._gateway
        asked = asked_by(raw, gateway.settings.proxies)
        gateway.load.begin()
        response: web.StreamResponse | None = None
        try:
            response = await self._respond(asked)
            if gateway.draining:
                response.force_close()
            return response
        finally:
            gateway.load.end()
            self._count(asked, 499 if response is None else response.status, time.perf_counter() - started)

    def _count(self, asked: Asked, code: int, seconds: float) -> None:
        gateway = self._gateway
        family = _FAMILIES.get(asked.path[1:].partition("/")[0], "other")
        gateway.metrics.answered(_METHODS.get(asked.method, "other"), family, code, asked.sent, seconds)
        if gateway.log is not None:
            who = asked.grant.who if asked.grant is not None else "nobody"
            gateway.log.write(
                asked.address, who, asked.method, asked.path, code, asked.sent, seconds, asked.header("User-Agent")
            )

    async def _respond(self, asked: Asked) -> web.StreamResponse:
        try:
            found = await self._answer(asked)
        except (NotFound, NoNode):
            found = reading.not_found()
        except Unauthorized:
            found = self._unauthorized()
        except Forbidden:
            self._gateway.metrics.refused.inc()
            found = writing.said(403, "this URL is not good, or not any more")
        except (HostileSnapshot, Malformed, UsageError):
            found = writing.said(422, "this content cannot be shown")
        except (ForgeError, CorruptChunk, Stalled) as error:
            LOG.error("%s", error)
            self._gateway.metrics.failures.inc()
            found = writing.said(503, "the content cannot be had just now")
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            LOG.exception("a defect of Forge ended a request; please report it")
            self._gateway.metrics.failures.inc()
            found = writing.said(500, "a defect of the gateway")
        return ready(self._gateway, asked, found) if isinstance(found, Answer) else found

    def _unauthorized(self) -> Answer:
        self._gateway.metrics.refused.inc()
        return writing.said(401, "a token is needed", {"WWW-Authenticate": 'Bearer realm="forge"'})

    async def _answer(self, asked: Asked) -> Answer | web.StreamResponse:
        gateway = self._gateway
        if asked.path in status.PATHS and asked.method in status.METHODS:
            return await status.special(gateway, asked)
        wait = gateway.limits.wait(asked.client)
        if wait:
            gateway.metrics.limited.inc()
            return writing.said(429, "too many requests", {"Retry-After": str(round(wait))})
        if asked.method not in _METHODS:
            return writing.said(405, "GET, HEAD, PUT or POST", {"Allow": ", ".join(_METHODS)})
        grant = gateway.access.grant(asked.method, asked.path, asked.query, asked.header("Authorization"))
        asked.grant = grant
        if asked.method in {"PUT", "POST"}:
            return await writing.take(gateway, asked, grant)
        return await self._read(asked, grant)

    async def _read(self, asked: Asked, grant: Grant) -> Answer | web.StreamResponse:
        gateway = self._gateway
        key = (asked.path, _form(asked), grant.scope)
        plain = not any(asked.header(name) for name in _CONDITIONAL)
        kept = gateway.answers.find(key) if plain else None
        if kept is not None:
            gateway.metrics.hits.inc()
            return kept
        target = parse_target(asked.path)
        if target is None:
            return reading.not_found()
        resource = await find(gateway, grant, target)
        if resource is None:
            return reading.not_found()
        slash = isinstance(target, LinkTarget | RefTarget) and target.slash
        answer = await reading.answer(gateway, asked, resource, slash)
        if isinstance(answer, Answer) and plain and answer.status == 200 and not grant.unbounded:
            gateway.answers.put(key, answer, min(resource.age, ANSWER_AGE))
        return answer


def _form(asked: Asked) -> str:
    """All that the form of an answer depends on, beside its path."""
    encodings = ",".join(sorted(accepted_encodings(asked.header("Accept-Encoding"))))
    return f"{encodings};{wants_json(asked.header('Accept'), asked.query.get('format', ''))}"
