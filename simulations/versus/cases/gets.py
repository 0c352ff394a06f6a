"""`forge get` beside rsync's daemon: whole commands, from start to exit."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from simulations.versus.bench import Bar, Bench, Case, Contender, Medians, Trial, Turn
from simulations.versus.inputs import MB, check_content, check_same
from simulations.versus.peers import Forge, RsyncDaemon
from simulations.versus.process import Finished, measure

FORGE, RSYNC = "forge get", "rsync -a rsync://"


def forge_turn(finished: Finished) -> Turn:
    """A turn with what `--json` tells of the wire."""
    told = json.loads(finished.output)
    wire = {"wire bytes": told["wire_sent"] + told["wire_received"]}
    return Turn(finished.seconds, {"peak MB": finished.peak / MB, "cpu s": finished.cpu, **wire})


def rsync_turn(finished: Finished) -> Turn:
    """A turn with what `--stats` tells of the wire (TCP payload)."""
    counts = dict(line.split(": ", 1) for line in finished.output.splitlines() if ": " in line)
    wire = sum(int(counts[f"Total bytes {way}"].replace(",", "")) for way in ("sent", "received"))
    return Turn(finished.seconds, {"peak MB": finished.peak / MB, "cpu s": finished.cpu, "wire bytes": wire})


def within(factor: float) -> Callable[[Medians], bool]:
    """Whether Forge takes at most `factor` times as long as rsync."""
    return lambda medians: medians.seconds[FORGE] <= factor * medians.seconds[RSYNC]


@contextmanager
def big(bench: Bench) -> Iterator[Trial]:
    """One large file into an empty folder and an empty store."""
    source = bench.inputs.big
    size = source.stat().st_size
    home, ours, theirs = bench.work / "receiver", bench.work / "forge.bin", bench.work / "rsync.bin"
    forge = Forge(home)

    def forget() -> None:
        bench.fresh("receiver")
        bench.fresh(ours.name)

    with (
        Forge(bench.fresh("sender")).sharing(source) as (_, ticket),
        RsyncDaemon.serving(source.parent, bench.fresh("rsyncd")) as (rsync, _),
    ):
        yield Trial(
            [
                Contender(
                    FORGE,
                    lambda: forge_turn(measure(forge.command("--json", "get", ticket, ours))),
                    forget,
                    lambda: check_content(source, ours),
                ),
                Contender(
                    RSYNC,
                    lambda: rsync_turn(measure(rsync.command(theirs, source.name))),
                    lambda: void(bench.fresh(theirs.name)),
                    lambda: check_content(source, theirs),
                ),
            ],
            size,
            [
                Bar("250 MB/s", lambda medians: size / medians.seconds[FORGE] >= 250 * MB),
                Bar("within 1.5 times rsync's time", within(1.5)),
                Bar("stretch: rsync's time", within(1.0)),
                Bar("at most 100 MB in the receiver", lambda medians: medians.figures[FORGE]["peak MB"] <= 100),
            ],
        )


@contextmanager
def tree(bench: Bench) -> Iterator[Trial]:
    """Many files into an empty folder and an empty store."""
    yield from _tree(bench, again=False)


@contextmanager
def tree_again(bench: Bench) -> Iterator[Trial]:
    """The same once more: everything is there already."""
    yield from _tree(bench, again=True)


def _tree(bench: Bench, *, again: bool) -> Iterator[Trial]:
    source = bench.inputs.tree
    forge = Forge(bench.work / "receiver")
    ours, theirs = bench.work / "forge.tree", bench.work / "rsync.tree"

    def forget(*names: str) -> Callable[[], None]:
        """Empties what a turn fills; in `tree_again` only once, before the first."""
        left = list(names)

        def prepare() -> None:
            for name in left:
                bench.fresh(name)
            if again:
                left.clear()

        return prepare

    with (
        Forge(bench.fresh("sender")).sharing(source.path) as (_, ticket),
        RsyncDaemon.serving(source.path, bench.fresh("rsyncd")) as (rsync, _),
    ):
        yield Trial(
            [
                Contender(
                    FORGE,
                    lambda: forge_turn(measure(forge.command("--json", "get", ticket, ours))),
                    forget("receiver", ours.name),
                    lambda: check_same(source.path, ours),
                ),
                Contender(
                    RSYNC,
                    lambda: rsync_turn(measure(rsync.command(theirs))),
                    forget(theirs.name),
                    lambda: check_same(source.path, theirs),
                ),
            ],
            0 if again else source.bytes,
            _again_bars() if again else [Bar("rsync's time", within(1.0))],
            f"{source.files:,} files, {source.bytes / MB:.0f} MB",
        )


def _again_bars() -> list[Bar]:
    return [
        Bar("0.5 s", lambda medians: medians.seconds[FORGE] <= 0.5),
        Bar("under 4 KB on the wire", lambda medians: medians.figures[FORGE]["wire bytes"] < 4000),
    ]


def void(_: Path) -> None:
    """For a call whose result nobody needs."""


CASES = [
    Case("big_get", "`forge get` of 1 GB incompressible, whole command, verified and on disk", big, 7),
    Case("tree_get", "`forge get` of a tree", tree, 5),
    Case("tree_get_again", "the same again, nothing changed", tree_again, 9),
]
