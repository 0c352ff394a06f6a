"""A node's LAN part as a process of its own, with a real endpoint behind it, steered by lines on its standard input.

    python -m tests.net.lan_peer SEED [--host ADDR] [--scan SECONDS]

It writes one JSON object a line: `{"sighting": id, "addresses": [...], "tags": [...]}`, `{"gone": id}`, and answers to
`tags HEX ...`, `dial ID HOST PORT`, `problem`, `count` and `quit`.
"""

import argparse
import json
import sys

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forge_p2p.config import NetConfig
from forge_p2p.errors import PeerError
from forge_p2p.ids import NodeId
from forge_p2p.net import mdns
from forge_p2p.net.base import Address, Endpoint
from forge_p2p.net.lan import Gone, Lan, News, lan_discovery
from forge_p2p.net.quic import open_endpoint


def key_of(seed: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def id_of(seed: int) -> NodeId:
    return NodeId(key_of(seed).public_key().public_bytes_raw())


def say(**fields: object) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def tell(news: News) -> None:
    if isinstance(news, Gone):
        say(gone=news.node_id.hex())
        return
    addresses = [[address.host, address.port] for address in news.addresses]
    say(sighting=news.node_id.hex(), addresses=addresses, tags=sorted(tag.hex() for tag in news.tags))


async def obey(line: str, lan: Lan, endpoint: Endpoint) -> None:
    verb, *words = line.split()
    if verb == "tags":
        lan.update([bytes.fromhex(word) for word in words])
    elif verb == "dial":
        node, host, port = words
        try:
            connection = await endpoint.dial(Address(host, int(port)), NodeId(bytes.fromhex(node)))
        except PeerError as error:
            say(dialled=False, why=str(error))
        else:
            say(dialled=True)
            await connection.aclose()
    elif verb == "problem":
        say(problem=lan.problem)
    elif verb == "count":
        say(count=len(lan.peers))


async def main(seed: int, host: str) -> None:
    async with (
        open_endpoint(Address(host, 0), key_of(seed), NetConfig()) as endpoint,
        lan_discovery(id_of(seed), endpoint.address.port, [bytes([seed] * 16)], host=host) as lan,
        trio.open_nursery() as nursery,
    ):

        async def show() -> None:
            async for news in lan.sightings:
                tell(news)

        nursery.start_soon(show)
        say(up=id_of(seed).hex())
        while (line := (await trio.to_thread.run_sync(sys.stdin.readline)).strip()) not in {"", "quit"}:
            await obey(line, lan, endpoint)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("seed", type=int)
    parser.add_argument("--host", default="::")
    parser.add_argument("--scan", type=float, default=mdns.SCAN_INTERVAL)
    options = parser.parse_args()
    mdns.SCAN_INTERVAL = options.scan
    trio.run(main, options.seed, options.host)
