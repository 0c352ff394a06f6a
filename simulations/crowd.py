"""A node in a process of its own, and crowds of members that connect to it over loopback.

python -m simulations.crowd TOKEN NODEID PORT COUNT: a process that holds so many sessions, each of another member,
until its standard input ends. It says "ready" when all are up, and then each that ended.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forge_p2p.config import NetConfig
from forge_p2p.content.invite import Token, enrol, parse_token
from forge_p2p.content.membership import encode_chain
from forge_p2p.content.sealing import Direction, seal
from forge_p2p.ids import NodeId
from forge_p2p.net.base import Address, Endpoint
from forge_p2p.net.quic import open_endpoint
from forge_p2p.node.sessions.peer import PeerSession
from forge_p2p.proto import outputs
from forge_p2p.proto.auth import Fixed
from forge_p2p.proto.hello import NETWORK, STAYS, ClientRole, SessionConfig
from forge_p2p.proto.session import Session
from forge_p2p.wire.codes import Code
from forge_p2p.wire.messages import Announce, Done, FindNode, Nodes, Providers

DIALS_AT_ONCE = 8
MEMBER = Fixed(allowed=False, member=True)
PATIENCE = 60
"""Seconds for a hello: hundreds at once on a busy machine."""
CONFIG = SessionConfig(agent="crowd", capabilities=frozenset({NETWORK, STAYS}), hello_timeout=PATIENCE)


@dataclass(frozen=True, slots=True)
class Node:
    """A node that is up: where, and by which token one becomes a member of its network."""

    process: psutil.Process
    home: Path
    node_id: str
    port: int
    token: str

    def ask(self, *words: str) -> Any:
        """What a command says about it, as JSON."""
        return _forge(self.home, *words)

    def cpu(self) -> float:
        """Processor seconds so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def memory(self) -> int:
        """Resident bytes."""
        return int(self.process.memory_info().rss)


@contextmanager
def node_up(home: Path, connections: int) -> Iterator[Node]:
    """`forge up` with a network, on loopback, for so many connections from one host."""
    home.mkdir(parents=True, exist_ok=True)
    limits = f"max_connections = {connections}\nmax_connections_per_host = {connections}\n"
    settings = f"{limits}dial_timeout = {PATIENCE}\nlan = false\n"
    (home / "config.toml").write_text(f'listen = "127.0.0.1:0"\n[net]\n{settings}')
    _forge(home, "network", "create", "crowd")
    token = str(_forge(home, "network", "invite", "--role", "reader")["token"])
    words = [sys.executable, "-m", "forge_p2p.cli.main", "--home", str(home), "--json", "up"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as up:
        try:
            assert up.stdout is not None
            said = json.loads(up.stdout.readline())
            port = int(said["addresses"][0].rpartition(" ")[2])
            yield Node(psutil.Process(up.pid), home, said["node_id"], port, token)
        finally:
            up.terminate()


@contextmanager
def crowd(node: Node, count: int) -> Iterator[subprocess.Popen[str]]:
    """A process that holds `count` sessions with the node, all of them up."""
    arguments = [node.token, node.node_id, str(node.port), str(count)]
    words = [sys.executable, "-m", "simulations.crowd", *arguments]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            said = process.stdout.readline().strip()
            if said != "ready":
                raise SystemExit(f"the crowd is not all there: {said or 'it broke'}")
            yield process
        finally:
            process.stdin.close()


def _forge(home: Path, *arguments: str) -> Any:
    words = [sys.executable, "-m", "forge_p2p.cli.main", "--home", str(home), "--json", *arguments]
    return json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)


class Handler:
    """Has nothing, knows nobody, and says so."""

    def requested(self, session: PeerSession, request: outputs.RequestReceived) -> None: ...

    def cancelled(self, session: PeerSession, request_id: int) -> None: ...

    def queried(self, session: PeerSession, query: outputs.HaveQueryReceived) -> None: ...

    def authorization_needed(self, session: PeerSession, client_id: NodeId, credentials: bytes) -> None: ...

    def asked(self, session: PeerSession, query: outputs.QueryReceived) -> None:
        """A question of the DHT; the receive loop, which calls this, sends the reply."""
        match query.message:
            case FindNode():
                reply: Nodes | Providers | Done = Nodes.of([])
            case Announce():
                reply = Done(Code.OK, "")
            case _:
                reply = Providers.of([], [])
        session.session.reply(query.request_id, reply, trio.current_time())

    def followed(self, session: PeerSession, follow: outputs.FollowReceived) -> None:
        session.session.finish(follow.request_id, Code.OK, "", trio.current_time())

    def told_news(self, session: PeerSession, news: outputs.NewsReceived) -> None: ...

    def unfollowed(self, session: PeerSession, request_id: int) -> None: ...

    def gone(self, session: PeerSession) -> None: ...

    async def admit(self, session: PeerSession, client_id: NodeId, credentials: bytes) -> None: ...


@dataclass(slots=True)
class Crowd:
    """The sessions of one process, over one socket."""

    endpoint: Endpoint
    nursery: trio.Nursery
    token: Token
    server_id: NodeId
    address: Address

    async def join(self) -> PeerSession:
        """One more member, with a key of its own, let in."""
        key = Ed25519PrivateKey.generate()
        own_id = NodeId(key.public_key().public_bytes_raw())
        chain = enrol(self.token, own_id, time.time())
        shown = seal(self.token.secret, self.server_id, own_id, Direction.CLIENT, encode_chain(chain))
        connection = await self.endpoint.dial(self.address, self.server_id)
        role = ClientRole(own_id, self.server_id, key.sign, shown, None)
        session = PeerSession(connection, Session(role, CONFIG), Handler())
        session.members = Handler()
        self.nursery.start_soon(session.run)
        await session.ready.wait()
        if session.ended.is_set():
            raise SystemExit(f"not let in: {session.reason}")
        session.session.grant(MEMBER, trio.current_time())
        return session


async def hold(token: str, node_id: str, port: int, count: int) -> None:
    """Runs the process of a crowd."""
    config = NetConfig(max_connections=count + 1)
    key = Ed25519PrivateKey.generate()
    async with open_endpoint(Address("127.0.0.1", 0), key, config) as endpoint, trio.open_nursery() as nursery:
        server_id = NodeId(bytes.fromhex(node_id))
        members = Crowd(endpoint, nursery, parse_token(token), server_id, Address("127.0.0.1", port))
        sessions: list[PeerSession] = []

        async def dial(some: int) -> None:
            sessions.extend([await members.join() for _ in range(some)])

        async with trio.open_nursery() as dials:
            for number in range(DIALS_AT_ONCE):
                dials.start_soon(dial, (count + number) // DIALS_AT_ONCE)
        print("ready", flush=True)
        for session in sessions:
            nursery.start_soon(_report, session)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()


async def _report(session: PeerSession) -> None:
    await session.ended.wait()
    print(f"ended: {session.reason}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Members that connect to a node and keep quiet.")
    parser.add_argument("token")
    parser.add_argument("node_id")
    parser.add_argument("port", type=int)
    parser.add_argument("count", type=int)
    arguments = parser.parse_args()
    trio.run(hold, arguments.token, arguments.node_id, arguments.port, arguments.count)


if __name__ == "__main__":
    main()
