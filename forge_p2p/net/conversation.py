"""One zeroconf instance at work: this node's advert on every link, and an ear for those of others.

The only module that knows zeroconf. Everything that arrives is a stranger's, and cheap to forge: it is checked strictly
and bounded in number (`neighbours`), paid for out of a small share of the processor (`pacing`), and what was not sent
on this LAN is dropped by the kernel (`onlink`), so nobody elsewhere can ask who is here or have answers sent to others.

Instances are not probed for before they are announced, which would take a second: their names are those of keys, so
only a node's own ghost could have the same.
"""

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from forge_p2p.net.advert import SERVICE, Advert, encode_text, host_name, instance_name, is_instance
from forge_p2p.net.interfaces import interfaces
from forge_p2p.net.links import Links, choose_links
from forge_p2p.net.neighbours import Neighbours
from forge_p2p.net.onlink import hear_neighbours_only

if TYPE_CHECKING:
    from zeroconf import ServiceInfo, ServiceStateChange, Zeroconf
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

HOST_TTL = 120
RECORD_TTL = 1200
"""Seconds for which others believe an advert that is not repeated: so long a node that crashed is still shown. zeroconf
takes no less than 1125; the 4500 of RFC 6762 section 10 suit printers."""

ASK_AGAIN = 0.3
"""Seconds after the first question, to which neighbours may answer this host alone, and thus another process on it that
has the port open too. Everybody hears the answers to the second one."""

REPEATS = (1.5, 3.5)
"""Seconds until an announcement's last repetitions. By the first, a switch has woken up. By the second, answers that
zeroconf had put off for up to 1.3 s with what was true before are out, and caches let go of them, which they do not of
what they heard less than a second earlier (RFC 6762 section 10.2)."""

SETTLING = 1.2
"""Seconds after which an advert is looked at again: a changed record's predecessor stays in the cache for one (RFC 6762
section 10.2), and the same advert may come by IPv6 a moment later, and only then with the scope of its addresses."""

CLOSE_TIMEOUT = 1.5
"""Seconds for the goodbye, which is said three times, 125 ms apart."""

RESOLVING_MAX = 8
"""Adverts that came in pieces, and whose other pieces are asked for at a time."""

RESOLVE_TIMEOUT = 1.5

UNHEARD = (
    "this node does not hear its own announcements: a firewall drops UDP port 5353, or this network (a container's, "
    "some Wi-Fi's) carries no multicast"
)
NO_LINK = "no network interface is up that carries multicast"
LOOPBACK_ONLY = "this node is on loopback alone, where only nodes of this machine find it"


class Conversation:
    """Lives in one asyncio task: `begin`, `keep_up` now and then, `end` whatever happened."""

    def __init__(self, neighbours: Neighbours, host: str, port: int) -> None:
        self._neighbours = neighbours
        self._host = host
        self._port = port
        self._links = Links()
        self._engine: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._announced_at = 0.0
        self._own_name = ""
        self._said: tuple[Advert, tuple[str, ...]] | None = None
        self._announcing: set[asyncio.Future[None]] = set()
        self._resolving: dict[str, asyncio.Task[None]] = {}
        self._settling: set[str] = set()
        self._repeats: list[asyncio.TimerHandle] = []

    async def begin(self, advert: Advert) -> None:
        """Opens the sockets, announces and asks. Raises `OSError`, and whatever zeroconf does."""
        from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

        self._own_name = instance_name(advert.node_id)
        self._links = choose_links(self._host, interfaces())
        self._engine = AsyncZeroconf(interfaces=list(self._links.speaking))
        await self._zeroconf.async_wait_for_start()
        self._guard_sockets()
        self._browser = AsyncServiceBrowser(self._zeroconf, SERVICE, handlers=[self._on_event])
        await self._announce(advert)
        self._ask_later()

    async def keep_up(self, advert: Advert) -> None:
        """Says what is new of this node, follows its interfaces, and forgets who was not heard of for long."""
        links = choose_links(self._host, interfaces())
        rewired = links.speaking != self._links.speaking or len(self._zeroconf.engine.senders) < len(links.speaking)
        self._links = links
        if (advert, links.announced) != self._said:
            await self._announce(advert)
        if rewired and self._engine is not None:
            self._announced_at = time.monotonic()
            await self._engine.async_update_interfaces(list(links.speaking))
            self._guard_sockets()
        if rewired or not self._is_heard:
            self._ask_later(everybody=rewired)
        heard = self._heard_names()
        for name in heard:
            self._look(name, ask=False)
        self._neighbours.expire(heard, time.monotonic() - RECORD_TTL)

    def problem(self, patience: float) -> str:
        """What is wrong, in one line; empty if nothing is, or an announcement is not yet `patience` seconds old."""
        if not self._links.speaking:
            return NO_LINK
        if not self._is_heard and time.monotonic() - self._announced_at >= patience:
            return UNHEARD
        return "" if self._links.is_lan else LOOPBACK_ONLY

    async def end(self) -> None:
        """Says goodbye, and closes what is open."""
        for task in [*self._resolving.values(), *self._announcing]:
            task.cancel()
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                if self._browser is not None:
                    await self._browser.async_cancel()
                if self._engine is not None:
                    await self._engine.async_close()

    # -- speaking

    @property
    def _zeroconf(self) -> "Zeroconf":
        assert self._engine is not None
        return self._engine.zeroconf

    def _guard_sockets(self) -> None:
        for reader in self._zeroconf.engine.readers:
            hear_neighbours_only(reader.sock)

    async def _announce(self, advert: Advert) -> None:
        """Announces the node, three times in half a second; or announces it again, as it is now."""
        assert self._engine is not None
        info = self._service(advert)
        if self._said is None:
            done = await self._engine.async_register_service(info, cooperating_responders=True)
        else:
            done = await self._engine.async_update_service(info)
        self._said = (advert, self._links.announced)
        self._announced_at = time.monotonic()
        task = asyncio.ensure_future(done)
        self._announcing.add(task)
        task.add_done_callback(self._announcing.discard)
        for repeat in self._repeats:
            repeat.cancel()
        loop = asyncio.get_running_loop()
        self._repeats = [loop.call_later(delay, self._announce_again) for delay in REPEATS]

    def _announce_again(self) -> None:
        for info in self._zeroconf.registry.async_get_service_infos():
            self._zeroconf.async_send(self._zeroconf.generate_service_broadcast(info, None))

    def _service(self, advert: Advert) -> "ServiceInfo":
        from zeroconf import ServiceInfo

        return ServiceInfo(
            SERVICE,
            instance_name(advert.node_id),
            port=self._port,
            properties=encode_text(advert),
            server=host_name(advert.node_id),
            host_ttl=HOST_TTL,
            other_ttl=RECORD_TTL,
            parsed_addresses=list(self._links.announced),
        )

    def _ask_later(self, *, everybody: bool = False) -> None:
        asyncio.get_running_loop().call_later(ASK_AGAIN, self._ask, everybody)

    def _ask(self, everybody: bool) -> None:
        """Asks who is there, naming those already known, so that they need not answer; or asks `everybody`, who are
        then heard on a new link too."""
        from zeroconf import DNSOutgoing, DNSQuestion, current_time_millis  # type: ignore[attr-defined]
        from zeroconf.const import _CLASS_IN, _FLAGS_QR_QUERY, _TYPE_PTR

        now = current_time_millis()
        question = DNSOutgoing(_FLAGS_QR_QUERY)
        question.add_question(DNSQuestion(SERVICE, _TYPE_PTR, _CLASS_IN))
        if not everybody:
            for record in self._zeroconf.cache.get_all_by_details(SERVICE, _TYPE_PTR, _CLASS_IN):
                question.add_answer_at_time(record, now)
        self._zeroconf.async_send(question)

    # -- hearing

    @property
    def _is_heard(self) -> bool:
        """Whether this node has heard its own latest announcement."""
        record = self._zeroconf.cache.current_entry_with_name_and_alias(SERVICE, self._own_name)
        return record is not None and record.created >= self._announced_at * 1000

    def _heard_names(self) -> set[str]:
        from zeroconf.const import _CLASS_IN, _TYPE_PTR

        records = self._zeroconf.cache.get_all_by_details(SERVICE, _TYPE_PTR, _CLASS_IN)
        names = {str(getattr(record, "alias", "")) for record in records}
        return {name for name in names if is_instance(name) and name != self._own_name}

    def _on_event(self, zeroconf: "Zeroconf", service_type: str, name: str, state_change: "ServiceStateChange") -> None:
        if not is_instance(name) or name == self._own_name:
            return
        if state_change.name == "Removed":
            self._neighbours.lost(name)
            return
        self._look(name)
        if name in self._neighbours.peers and name not in self._settling:
            self._settling.add(name)
            asyncio.get_running_loop().call_later(SETTLING, self._look_settled, name)

    def _look_settled(self, name: str) -> None:
        self._settling.discard(name)
        self._look(name)

    def _look(self, name: str, *, ask: bool = True) -> None:
        """Takes what the cache has of an instance. What is missing may be asked for, of a few instances at a time."""
        from zeroconf.asyncio import AsyncServiceInfo

        info = AsyncServiceInfo(SERVICE, name)
        if info.load_from_cache(self._zeroconf):
            self._take(info)
        elif ask and name not in self._resolving and len(self._resolving) < RESOLVING_MAX:
            self._resolving[name] = asyncio.ensure_future(self._resolve(info))

    async def _resolve(self, info: "AsyncServiceInfo") -> None:
        try:
            if await info.async_request(self._zeroconf, RESOLVE_TIMEOUT * 1000):
                self._take(info)
        finally:
            del self._resolving[info.name]

    def _take(self, info: "AsyncServiceInfo") -> None:
        addresses = info.parsed_scoped_addresses()
        self._neighbours.saw(info.name, info.text, addresses, info.port or 0, self._links, time.monotonic())
