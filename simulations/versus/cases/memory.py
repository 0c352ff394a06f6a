"""Peak memory of both sides of one large transfer: the whole life of the serving and of the fetching process."""

from collections.abc import Iterator
from contextlib import contextmanager

from simulations.versus.bench import Bar, Bench, Case, Contender, Trial, Turn
from simulations.versus.inputs import MB
from simulations.versus.peers import Forge, RsyncDaemon
from simulations.versus.process import Finished, Service, measure

FORGE, RSYNC = "forge share, forge get", "rsync --daemon, rsync"


def both(server: Service, client: Finished) -> Turn:
    """A turn whose services have ended."""
    return Turn(client.seconds, {"serving peak MB": server.peak / MB, "fetching peak MB": client.peak / MB})


@contextmanager
def memory(bench: Bench) -> Iterator[Trial]:
    """Each turn starts a serving side of its own, so that its peak is of this transfer (and of adding the file)."""
    source = bench.inputs.big

    def forge() -> Turn:
        receiver = Forge(bench.fresh("receiver"))
        with Forge(bench.fresh("sender")).sharing(source) as (server, ticket):
            client = measure(receiver.command("get", ticket, bench.fresh("forge.bin")))
        return both(server, client)

    def rsync() -> Turn:
        with RsyncDaemon.serving(source.parent, bench.fresh("rsyncd")) as (daemon, server):
            client = measure(daemon.command(bench.fresh("rsync.bin"), source.name))
        return both(server, client)

    contenders = [Contender(FORGE, forge), Contender(RSYNC, rsync)]
    yield Trial(contenders, source.stat().st_size, [bar("serving"), bar("fetching")])


def bar(side: str) -> Bar:
    """The bar for one side."""
    return Bar(f"{side} side 100 MB", lambda medians: medians.figures[FORGE][f"{side} peak MB"] <= 100)


CASES = [Case("memory", "Peak memory in the 1 GB transfer", memory, 3)]
