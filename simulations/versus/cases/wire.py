"""The wire: what an unchanged get costs, counted from outside, and how fast the transport is by itself."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from forge_p2p.content.ticket import format_ticket, parse_ticket
from simulations.versus.bench import Bar, Bench, Case, Contender, Trial, Turn
from simulations.versus.inputs import MB
from simulations.versus.peers import Forge
from simulations.versus.process import Failed, measure
from simulations.versus.relay import CountingRelay

FIRST, AGAIN = "first get", "again, unchanged"


@contextmanager
def relayed(ticket: str) -> Iterator[tuple[CountingRelay, str]]:
    """A relay before the node of `ticket`, and the ticket that leads through it."""
    opened = parse_ticket(ticket)
    ports = [port for host, port in opened.addresses if host == "127.0.0.1"] or [port for _, port in opened.addresses]
    if not ports:
        raise Failed("the ticket has no address")
    with CountingRelay(("127.0.0.1", ports[0])) as relay:
        yield relay, format_ticket(replace(opened, addresses=(("127.0.0.1", relay.port),)))


@contextmanager
def wire_check(bench: Bench) -> Iterator[Trial]:
    """Beside what the relay counts stands what the command says. The first get shows that the relay sees all."""
    source = bench.inputs.tree.path
    receiver = Forge(bench.fresh("receiver"))

    def forget() -> None:
        bench.fresh("receiver")
        bench.fresh("copy")

    with Forge(bench.fresh("sender")).sharing(source) as (_, ticket), relayed(ticket) as (relay, through):

        def get() -> Turn:
            before = relay.to_node + relay.from_node
            finished = measure(receiver.command("--json", "get", through, bench.work / "copy"))
            told = json.loads(finished.output)
            counted = relay.to_node + relay.from_node - before
            figures = {"relay bytes": counted, "told bytes": told["wire_sent"] + told["wire_received"]}
            return Turn(finished.seconds, figures)

        bar = Bar("under 4 KB on the wire", lambda medians: medians.figures[AGAIN]["relay bytes"] < 4000)
        yield Trial([Contender(FIRST, get, forget), Contender(AGAIN, get)], bars=[bar])


@contextmanager
def transport(bench: Bench) -> Iterator[Trial]:
    """`simulations/versus/transport.py`: one stream, a process on each side, no store and no verification."""
    mebibytes = 64 if bench.quick else 1024

    def turn(engine: str, datagram: int) -> Turn:
        words = ["--json", f"--megabytes={mebibytes}", f"--engine={engine}", f"--datagram-size={datagram}"]
        told = json.loads(measure([sys.executable, "-m", "simulations.versus.transport", *words]).output)
        cpu = {"receiving cpu s": told["cpu"], "sending cpu s": told["server"]["cpu"]}
        return Turn(told["seconds"], {"datagram bytes": told["datagram_size"], **cpu})

    yield Trial(
        [
            Contender("qh3, 1452 bytes", lambda: turn("qh3", 1452)),
            Contender("qh3, discovered", lambda: turn("qh3", 0)),
            Contender("aioquic, 1452 bytes", lambda: turn("aioquic", 1452)),
        ],
        mebibytes * 2**20,
        [Bar("300 MB/s", lambda medians: mebibytes * 2**20 / medians.seconds["qh3, 1452 bytes"] >= 300 * MB)],
    )


CASES = [
    Case("wire_check", "bytes of an unchanged get, counted between the nodes", wire_check, 3),
    Case("transport", "One stream, transport alone", transport, 5),
]
