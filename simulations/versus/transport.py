"""Transport alone: one stream from one process to another over loopback, received bytes counted.

    python -m simulations.versus.transport --megabytes 512 --datagram-size 1452 --engine qh3

The sending process serves; this one dials, asks with one byte, counts what arrives and prints MB/s (10^6 bytes), which
with `--json` come with each side's counters, processor seconds and peak memory.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forge_p2p.config import Engine, NetConfig
from forge_p2p.ids import NodeId
from forge_p2p.net.base import Address, StreamData
from forge_p2p.net.quic import open_endpoint

PIECE = 1 << 20


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measures one stream of the transport alone.")
    parser.add_argument("--megabytes", type=int, default=512, help="MiB to move")
    parser.add_argument("--datagram-size", type=int, default=1452, help="UDP payload bytes; 0 = discovered")
    parser.add_argument("--engine", choices=[engine.value for engine in Engine], default=Engine.QH3.value)
    parser.add_argument("--no-offload", action="store_true", help="one system call a datagram")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        trio.run(serve, options)
        return
    report = measure(options)
    print(json.dumps(report) if options.json else f"{report['megabytes_per_second']:.0f} MB/s")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Starts the serving process, fetches from it, and returns the figures of both."""
    command = [sys.executable, "-m", "simulations.versus.transport", "--serve", *_passed_on(options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        greeting = json.loads(server.stdout.readline())
        try:
            report = trio.run(fetch, options, Address("127.0.0.1", greeting["port"]), bytes.fromhex(greeting["node"]))
        except BaseException:
            server.kill()
            raise
        report["server"] = json.loads(server.stdout.readline())
    return report


async def serve(options: argparse.Namespace) -> None:
    """Prints where it listens, sends the asked-for bytes once, and prints its figures when the peer has gone."""
    key = Ed25519PrivateKey.generate()
    async with open_endpoint(
        Address("127.0.0.1", 0), key, _config(options), offload=not options.no_offload
    ) as endpoint:
        node = key.public_key().public_bytes_raw().hex()
        print(json.dumps({"port": endpoint.address.port, "node": node}), flush=True)
        connection = await endpoint.accept()
        stream = (await connection.receive())[0].stream_id
        piece = os.urandom(PIECE)
        for remaining in reversed(range(options.megabytes)):
            await connection.send(stream, [piece], fin=remaining == 0)
        await connection.receive()
        statistics = connection.statistics()
    print(json.dumps({"sent": statistics.bytes_sent, **_usage()}), flush=True)


async def fetch(options: argparse.Namespace, address: Address, node: bytes) -> dict[str, Any]:
    """Dials, asks, counts. The clock runs from the question to the last byte."""
    key = Ed25519PrivateKey.generate()
    async with open_endpoint(
        Address("127.0.0.1", 0), key, _config(options), offload=not options.no_offload
    ) as endpoint:
        connection = await endpoint.dial(address, NodeId(node))
        stream = connection.open_stream()
        started = time.perf_counter()
        await connection.send(stream, [b"?"])
        received, ended = 0, False
        while not ended:
            for event in await connection.receive():
                assert isinstance(event, StreamData)
                received += len(event.data)
                ended = event.fin
        seconds = time.perf_counter() - started
        assert received == options.megabytes * PIECE, received
        await connection.send(stream, [b"!"], fin=True)
        statistics = connection.statistics()
        await trio.sleep(0.1)
    return {
        "megabytes_per_second": received / seconds / 1e6,
        "seconds": seconds,
        "received": received,
        "datagram_size": statistics.datagram_size,
        "on_the_wire": statistics.bytes_received + statistics.bytes_sent,
        **_usage(),
    }


def _usage() -> dict[str, float]:
    """Of this process since its start: processor seconds, and peak memory in MB."""
    return {"cpu": time.process_time(), "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6}


def _config(options: argparse.Namespace) -> NetConfig:
    return NetConfig(engine=Engine(options.engine), datagram_size=options.datagram_size)


def _passed_on(options: argparse.Namespace) -> list[str]:
    passed = [
        f"--megabytes={options.megabytes}",
        f"--datagram-size={options.datagram_size}",
        f"--engine={options.engine}",
    ]
    return [*passed, "--no-offload"] if options.no_offload else passed


if __name__ == "__main__":
    main()
