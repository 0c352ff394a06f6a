"""Sends a LAN what no node would send, as a process of its own: `python -m tests.net.rude_neighbour KIND ADDRESS`."""

import random
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator

from zeroconf import DNSOutgoing, DNSRecord, ServiceInfo  # type: ignore[attr-defined]
from zeroconf.const import _FLAGS_AA, _FLAGS_QR_RESPONSE

from forge_p2p.ids import NodeId
from forge_p2p.net.advert import MAX_TAGS, SERVICE, Advert, encode_text, host_name, instance_name
from tests.net.lan_peer import id_of

RNG = random.Random(11)


def packet(info: ServiceInfo, parts: str, ttl: int | None = None) -> bytes:
    """An answer with some of an instance's records: Pointer, Service, Text, Addresses."""
    out = DNSOutgoing(_FLAGS_QR_RESPONSE | _FLAGS_AA)
    records: dict[str, Iterable[DNSRecord]] = {
        "p": [info.dns_pointer(ttl)],
        "s": [info.dns_service(ttl)],
        "t": [info.dns_text(ttl)],
        "a": info.dns_addresses(ttl),
    }
    for part in parts:
        for record in records[part]:
            out.add_answer_at_time(record, 0)
    return bytes(out.packets()[0])


def stranger(node_id: NodeId | None = None, text: bytes | None = None, *addresses: str) -> ServiceInfo:
    node_id = NodeId(RNG.randbytes(32)) if node_id is None else node_id
    tags = frozenset(RNG.randbytes(16) for _ in range(RNG.randrange(MAX_TAGS + 1)))
    return ServiceInfo(
        SERVICE,
        instance_name(node_id),
        port=RNG.randrange(1, 65536),
        properties=encode_text(Advert(node_id, tags)) if text is None else text,
        server=host_name(node_id),
        parsed_addresses=list(addresses or (f"10.77.0.{RNG.randrange(3, 250)}",)),
    )


def noise() -> Iterator[bytes]:
    for size in (0, 1, 11, 12, 13, 500, 1472, 8966, 8967, 60_000):
        for _ in range(40):
            yield RNG.randbytes(size)
            yield b"\0\0\x84\0" + RNG.randbytes(size)


def mutants() -> Iterator[bytes]:
    for _ in range(1500):
        whole = bytearray(packet(stranger(), "psta"))
        for _ in range(RNG.randrange(1, 6)):
            whole[RNG.randrange(len(whole))] = RNG.randrange(256)
        yield bytes(whole[: RNG.randrange(len(whole))] if RNG.random() < 0.3 else whole)


def halves() -> Iterator[bytes]:
    for _ in range(100):
        for parts in ("p", "ps", "pt", "pa", "psa", "pst", "sta", "t"):
            yield packet(stranger(), parts)


def liars() -> Iterator[bytes]:
    """In the name of the node that listens, of the one to come, of nobody; with addresses far away; with goodbyes."""
    for seed in (1, 2):
        node_id = id_of(seed)
        for text in (b"", b"\x03v=2", RNG.randbytes(200), encode_text(Advert(NodeId(bytes(32)), frozenset()))):
            for addresses in (("8.8.8.8",), ("2600::1", "127.0.0.1"), tuple(f"10.9.{n}.9" for n in range(40))):
                info = stranger(node_id, text, *addresses)
                yield packet(info, "psta")
                yield packet(info, "psta", 0)
        yield packet(stranger(node_id), "psta", 0)


def crowd() -> Iterator[bytes]:
    for _ in range(2500):
        yield packet(stranger(), "psta")


KINDS: dict[str, Callable[[], Iterator[bytes]]] = {
    kind.__name__: kind for kind in (noise, mutants, halves, liars, crowd)
}


def main(kind: str, address: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
        for number, data in enumerate(KINDS[kind]()):
            sender.sendto(data, ("224.0.0.251", 5353))
            if number % 50 == 0:
                time.sleep(0.01)  # more than the receiver's buffer holds would only be lost
    sys.stdout.write("sent\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
