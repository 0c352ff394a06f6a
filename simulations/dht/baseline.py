"""The same network, run by the `kademlia` package as it is: its Server, crawlers, routing and storage.

Only what would touch the machine is replaced: datagrams go through the simulated world, with the package's own timeout
of 5 s, and its asyncio code runs on a loop whose time is the world's. Values are the names of providers. A key has one
value in that package, so the last provider to announce itself is the one who is found; to be fair providers announce
themselves as often as ours do, not once an hour.

One thing in the package is bounded (`Link.welcome_if_new`), because an hour of it may otherwise never end. It gives a
node that it meets the values that this one should keep, and takes it into its table; whoever is not in the table is
met anew. Where the bucket is full the newcomer only becomes a replacement (`KBucket.add_node`, False), and so
`RoutingTable.is_new_node` still says that it is new when it answers the STORE: `handle_call_response` welcomes it
again, with the same values. With two values each answer makes two more of them. Measured with 500 nodes and seed 1: one
node welcomed one newcomer 200,003 times within six seconds, and memory grew by a gigabyte in a minute.
"""

import asyncio
import types
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from typing import Any, Final

import kademlia.protocol
import kademlia.routing
import kademlia.storage
from kademlia.network import Server
from kademlia.node import Node as PackageNode
from kademlia.protocol import KademliaProtocol

from forge_p2p.content.contact import Contact
from forge_p2p.proto.dht.keyspace import key_bytes
from simulations.dht.member import Node
from simulations.dht.population import Population, Trial
from simulations.dht.world import World

TIMEOUT: Final = 5.0
"""`wait_timeout` of rpcudp."""

_current: ContextVar["Trial | None"] = ContextVar("current", default=None)


class WorldLoop(asyncio.AbstractEventLoop):
    """As much of an event loop as the package uses, in the world's time."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ready: deque[asyncio.Handle] = deque()

    def time(self) -> float:
        return self._world.now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **options: Any) -> "asyncio.Task[Any]":
        return asyncio.Task(coro, loop=self, **options)

    def call_soon(  # type: ignore[override]  # one callback is as good as another
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        when = self._world.now + delay
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._world.at(when, self._run, handle)
        return handle

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What fails is a defect of the simulation; what still waits when the world ends is none."""
        if "exception" in context:
            raise RuntimeError(context.get("message")) from context["exception"]

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It stays in the world's heap and does nothing."""

    def _run(self, handle: asyncio.Handle) -> None:
        if not handle.cancelled():
            handle._run()  # noqa: SLF001  # as every loop does
            self.drain()

    def drain(self) -> None:
        """Runs what is ready, and what that makes ready."""
        while self._ready:
            handle = self._ready.popleft()
            if not handle.cancelled():
                handle._run()  # noqa: SLF001  # as every loop does


class Link(KademliaProtocol):  # type: ignore[misc]  # the package has no types
    """The package's protocol over the simulated network."""

    router: kademlia.routing.RoutingTable

    def __init__(self, owner: "Theirs", server: Server) -> None:
        super().__init__(server.node, server.storage, server.ksize)
        self._owner = owner

    def __getattr__(self, name: str) -> Callable[..., "asyncio.Future[Any]"]:
        if name not in {"ping", "store", "find_node", "find_value"}:
            raise AttributeError(name)
        return lambda address, *args: self._owner.call(name, address, args)

    def welcome_if_new(self, node: PackageNode) -> None:
        """As the package says of itself: a new node is sent the values that it should keep. One that waits for a place
        in a full bucket has them; all else that is done about it stays, the ping to the bucket's eldest included."""
        router = self.router
        if node.id in router.buckets[router.get_bucket_for(node)].replacement_nodes:
            router.add_contact(node)
        else:
            super().welcome_if_new(node)


class Theirs(Node):
    """A node run by the package."""

    def __init__(self, people: Population, number: int, loop: WorldLoop) -> None:
        super().__init__(people, number, people.world.new_site())
        self.loop = loop
        self.server = Server(node_id=key_bytes(self.key))
        self.server.protocol = Link(self, self.server)

    def join(self, contacts: list[Contact]) -> None:
        self._start(self.server.bootstrap([contact.addresses[0] for contact in contacts]))
        self.server.refresh_table()
        self.loop.drain()

    def provide(self, key: bytes, ttl: int) -> None:
        self.keys.add(key)
        self._announce(key, ttl)

    def look_up(self, trial: Trial) -> None:
        context = Context()
        context.run(_current.set, trial)
        self.loop.create_task(self._find(trial), context=context)
        self.loop.drain()

    def call(self, name: str, address: tuple[str, int], args: tuple[Any, ...]) -> "asyncio.Future[Any]":
        """Sends a query; the future ends as the package's would."""
        self.people.queries += 1
        trial = _current.get()
        if trial is not None and trial.ended < 0:
            trial.asked(self.world.now, name != "store")
        future = self.loop.create_future()
        self.loop.call_later(TIMEOUT, _settle, future, (False, None))
        asked = self.people.by_host.get(address[0])
        delay = self.world.delay(self.site, asked.site) if asked is not None else None
        if delay is not None:
            self.world.at(self.world.now + delay, self._arrive, asked, name, args, future)
        return future

    def _arrive(self, asked: "Theirs", name: str, args: tuple[Any, ...], future: "asyncio.Future[Any]") -> None:
        if not asked.alive:
            return
        self.world.mark(asked.number << 20 ^ self.number)
        sender = self.contact.addresses[0]
        reply = getattr(asked.server.protocol, f"rpc_{name}")(sender, *args)
        self.loop.drain()
        delay = self.world.delay(asked.site, self.site)
        if delay is not None:
            self.world.at(self.world.now + delay, self._replied, future, reply)

    def _replied(self, future: "asyncio.Future[Any]", reply: object) -> None:
        if self.alive:
            _settle(future, (True, reply))
            self.loop.drain()

    async def _find(self, trial: Trial) -> None:
        provider = self.people.by_host.get(await self.server.get(trial.key))
        if provider is not None and self.people.is_good(self, provider, trial.key):
            trial.found = self.world.now
        trial.ended = self.world.now

    def _announce(self, key: bytes, ttl: int) -> None:
        if self.alive:
            self._start(self.server.set(key, self.site.host))
            self.loop.drain()
            self.world.at(self.world.now + ttl / 2, self._announce, key, ttl)

    def _start(self, work: Coroutine[Any, Any, object]) -> None:
        self.loop.create_task(_forgiving(work), context=Context())


async def _forgiving(work: Coroutine[Any, Any, object]) -> None:
    """A `set` to a network in which nobody answers ends with the maximum of nothing."""
    try:
        await work
    except ValueError as error:
        if "empty" not in str(error):
            raise


def _settle(future: "asyncio.Future[Any]", result: tuple[bool, object]) -> None:
    if not future.done():
        future.set_result(result)


@contextmanager
def package(world: World) -> Iterator[Callable[[Population, int], Theirs]]:
    """Makes nodes run by the package, which takes its time and its randomness from the world meanwhile."""
    loop = WorldLoop(world)  # type: ignore[abstract]  # nothing else of a loop is asked for
    clock = types.SimpleNamespace(monotonic=lambda: world.now)
    before = kademlia.routing.time, kademlia.storage.time, kademlia.protocol.random
    asyncio._set_running_loop(loop)  # noqa: SLF001
    kademlia.routing.time = kademlia.storage.time = clock
    kademlia.protocol.random = world.rng
    try:
        yield lambda people, number: Theirs(people, number, loop)
    finally:
        asyncio._set_running_loop(None)  # noqa: SLF001
        kademlia.routing.time, kademlia.storage.time, kademlia.protocol.random = before
