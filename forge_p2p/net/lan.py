"""LAN discovery for a node: who else is here, and tell them that this node is.

    async with lan_discovery(node_id, port, tags) as lan:
        async for news in lan.sightings: ...

What is found is a hint and no more: whoever is on the LAN can forge any of it, goodbyes included. A `Sighting` says
whom to dial and where; the handshake proves who is there. A `Gone` says that dialling is no use now; it is no reason to
end a connection that works.
"""

import logging
import threading
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import trio

from forge_p2p.ids import NodeId
from forge_p2p.net.advert import MAX_TAGS, Advert
from forge_p2p.net.mdns import Responder
from forge_p2p.net.neighbours import IsOurs, Sighting, nobody

__all__ = ["Gone", "Lan", "News", "Sighting", "lan_discovery"]

LOG = logging.getLogger("forge")

QUEUED = 64
"""Pieces of news that wait for a reader. What changes meanwhile is told as it is when its turn comes."""

FAREWELL_TIMEOUT = 3.0
"""Seconds. The thread needs 0.3; if it hangs, the node goes down without it."""


@dataclass(frozen=True, slots=True)
class Gone:
    """A node of an earlier sighting is not on this LAN any more."""

    node_id: NodeId


News = Sighting | Gone


class Lan:
    """What `lan_discovery` gives."""

    def __init__(self, responder: Responder, sightings: "trio.MemoryReceiveChannel[News]") -> None:
        self.sightings = sightings
        """Nodes that came, changed their addresses or tags, and went. Nothing is lost if it is read slowly."""
        self._responder = responder

    def update(self, tags: Iterable[bytes]) -> None:
        """This node's networks have changed: their tags from now on."""
        self._responder.advertise(_first(tags))

    @property
    def problem(self) -> str:
        """Why nobody is found, or can find this node, in one line; empty when all seems well."""
        return self._responder.problem

    @property
    def peers(self) -> Collection[Sighting]:
        """Who is here now, as far as is known; at most 4096."""
        return list(self._responder.neighbours.peers.values())


@asynccontextmanager
async def lan_discovery(
    node_id: NodeId, port: int, tags: Iterable[bytes] = (), *, host: str = "::", is_ours: IsOurs = nobody
) -> AsyncIterator[Lan]:
    """Announces a node that listens on UDP `port` of `host` ("::" and "0.0.0.0": on every interface), and looks for
    others, until the context ends, with a goodbye. `tags`: 16 bytes for each of its networks, of which 15 are told.
    `is_ours` tells members of these networks from strangers, of whom fewer are remembered when there are thousands; it
    is called from another thread.

    Returns at once and raises nothing: a machine without multicast has a node all the same, and a `Lan.problem`.
    """
    outgoing, sightings = trio.open_memory_channel[News](QUEUED)
    teller = _Teller()
    responder = Responder(Advert(node_id, _first(tags)), host, port, is_ours, teller.changed)
    ended = trio.Event()
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_run_thread, responder, ended)
        nursery.start_soon(teller.run, outgoing)
        try:
            yield Lan(responder, sightings)
        except Exception as error:  # noqa: BLE001 - raised again below, where the nursery cannot wrap it in a group
            failure = error
        finally:
            responder.stop()
            with trio.move_on_after(FAREWELL_TIMEOUT, shield=True):
                await ended.wait()
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


def _first(tags: Iterable[bytes]) -> frozenset[bytes]:
    return frozenset(list(tags)[:MAX_TAGS])


async def _run_thread(responder: Responder, ended: trio.Event) -> None:
    try:
        await trio.to_thread.run_sync(responder.run, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
    except Exception as error:
        LOG.exception("LAN discovery has ended")
        responder.problem = f"LAN discovery has ended: {type(error).__name__}: {error}"
    finally:
        ended.set()


class _Teller:
    """Brings news from the responder's thread into the channel. What waits in between is one piece for each node, the
    latest, and nothing of nodes that came and went unnoticed; so a slow reader costs a bounded amount of memory."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._lock = threading.Lock()
        self._news: dict[str, Sighting | None] = {}
        self._told: dict[str, NodeId] = {}
        self._woken = trio.Event()

    def changed(self, name: str, sighting: Sighting | None) -> None:
        """From the responder's thread: a node is as in `sighting` now, or gone."""
        with self._lock:
            self._news.pop(name, None)
            if sighting is not None or name in self._told:
                self._news[name] = sighting
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._wake, idempotent=True)

    def _wake(self) -> None:
        self._woken.set()

    async def run(self, outgoing: "trio.MemorySendChannel[News]") -> None:
        """Tells of every change until cancelled."""
        with suppress(trio.BrokenResourceError):  # nobody reads any more
            async with outgoing:
                while True:
                    await self._woken.wait()
                    self._woken = trio.Event()
                    while (news := self._next()) is not None:
                        await outgoing.send(news)

    def _next(self) -> News | None:
        with self._lock:
            if not self._news:
                return None
            name = next(iter(self._news))
            sighting = self._news.pop(name)
            if sighting is None:
                return Gone(self._told.pop(name))
            self._told[name] = sighting.node_id
            return sighting
