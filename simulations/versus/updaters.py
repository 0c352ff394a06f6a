"""Ways to bring an old version up to date, each as a contender: Forge, rsync, casync, zsync.

`seconds` are those of all commands that it takes once the new version is at the sender: whatever prepares it there, and
what fetches it. `wire bytes` are counted between the two, both ways: UDP payload for Forge, TCP payload for the others.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from simulations.versus.bench import Bench, Contender, Turn
from simulations.versus.couple import NAME, Couple, Node, newcomer
from simulations.versus.inputs import check_content, check_same
from simulations.versus.peers import RsyncDaemon, nginx, program
from simulations.versus.process import measure
from simulations.versus.streams import StreamRelay
from simulations.versus.versions import Versions

FORGE, COLD, WITHOUT_OLD = "forge publish, pull", "forge, no node up at the puller", "forge, sender never had the old"
RSYNC, CASYNC, ZSYNC = "rsync -az rsync://", "casync make, extract", "zsyncmake, zsync"

SETTLING = 0.5
"""Seconds after which everything that an update causes has been sent."""


class ForgeUpdates:
    """Each turn has a network of its own, in which `there` has the old version."""

    def __init__(self, bench: Bench, versions: Versions, opened: ExitStack) -> None:
        self._bench = bench
        self._versions = versions
        self._opened = opened.enter_context(ExitStack())
        self._couple: Couple | None = None
        self._third: Node | None = None
        self._copy = bench.work / "forge.copy"

    def contender(self) -> Contender:
        """Nodes are up on both sides and connected."""
        return self._contender(FORGE, lambda: self._prepare(stays_up=True), self._pull)

    def cold(self) -> Contender:
        """The command that pulls is its own node, so the handshake counts."""
        return self._contender(COLD, lambda: self._prepare(stays_up=False), self._pull)

    def without_old(self) -> Contender:
        """The new version comes from a third node, which has joined and had nothing before."""
        return self._contender(WITHOUT_OLD, self._prepare_third, self._get)

    def _contender(self, name: str, prepare: Callable[[], None], update: Callable[[Couple], float]) -> Contender:
        def turn() -> Turn:
            couple = self._couple
            assert couple is not None
            before = couple.island.sent()
            seconds = update(couple)
            time.sleep(SETTLING)
            return Turn(seconds, {"wire bytes": couple.island.sent() - before})

        return Contender(name, turn, prepare, lambda: check_same(self._versions.new, self._copy))

    def _prepare(self, *, stays_up: bool) -> None:
        self._opened.close()
        self._bench.fresh(self._copy.name)
        couple = self._couple = self._opened.enter_context(Couple.meeting(self._bench.fresh("couple")))
        couple.here.run("publish", NAME, self._versions.old)
        with ExitStack() as up:
            up.enter_context(couple.there.up())
            couple.there.run("pull", NAME, self._copy)
            if stays_up:
                self._opened.push(up.pop_all())
        time.sleep(SETTLING)

    def _prepare_third(self) -> None:
        self._prepare(stays_up=True)
        assert self._couple is not None
        self._third = newcomer(self._bench.work / "couple" / "third", self._couple.here)
        self._opened.enter_context(self._third.up())
        time.sleep(SETTLING)

    def _pull(self, couple: Couple) -> float:
        published = couple.here.run("publish", NAME, self._versions.new).seconds
        return published + couple.there.run("pull", NAME, self._copy).seconds

    def _get(self, couple: Couple) -> float:
        assert self._third is not None
        shared = self._third.run("share", "--network", "team", self._versions.new)
        return shared.seconds + couple.there.run("get", shared.output.splitlines()[-1], self._copy).seconds


@contextmanager
def rsync(bench: Bench, versions: Versions, *options: str) -> Iterator[Contender]:
    """rsync's daemon. With -z unless `options` say otherwise."""
    copy = bench.work / "rsync.copy"

    def prepare() -> None:
        shutil.copytree(versions.old, bench.fresh(copy.name), symlinks=True)

    with RsyncDaemon.serving(versions.new, bench.fresh("rsyncd")) as (daemon, _), StreamRelay(daemon.port) as relay:
        words = [
            program("rsync"),
            *(options or ["-az"]),
            "--delete",
            f"rsync://127.0.0.1:{relay.port}/src/",
            f"{copy}/",
        ]
        name = f"rsync {' '.join(options)} rsync://" if options else RSYNC
        turn = _counted(relay, lambda: measure(words).seconds)
        yield Contender(name, turn, prepare, lambda: check_same(versions.new, copy))


@contextmanager
def casync(bench: Bench, versions: Versions) -> Iterator[Contender]:
    """A store of chunks behind nginx, which has the old version, too; the old directory is the seed."""
    copy, served = bench.work / "casync.copy", bench.work / "casync"
    make = [program("casync"), "make", f"--store={served}/store.castr"]

    def prepare() -> None:
        bench.fresh(copy.name)
        bench.fresh(served.name).mkdir()
        measure([*make, served / "old.caidx", versions.old])

    with web(bench, served) as relay:
        url = f"http://127.0.0.1:{relay.port}"
        extract = [program("casync"), "extract", f"--store={url}/store.castr", f"--seed={versions.old}"]

        def update() -> float:
            made = measure([*make, served / "new.caidx", versions.new]).seconds
            return made + measure([*extract, f"{url}/new.caidx", copy]).seconds

        yield Contender(CASYNC, _counted(relay, update), prepare, lambda: check_same(versions.new, copy))


@contextmanager
def zsync(bench: Bench, versions: Versions) -> Iterator[Contender]:
    """It knows one file at a time: a tar where there are several. nginx serves it compressed (`zsyncmake -z`)."""
    served, place = bench.work / "zsync", bench.fresh("zsync.copy")
    place.mkdir()
    old, new = (_one_file(version, place / version.name) for version in (versions.old, versions.new))

    def prepare() -> None:
        bench.fresh(served.name).mkdir()
        (served / "content").symlink_to(new)
        (place / "copy").unlink(missing_ok=True)

    with web(bench, served) as relay:
        url = f"http://127.0.0.1:{relay.port}/new.zsync"
        make = [program("zsyncmake"), "-z", "-o", "new.zsync", "-u", "content.gz", "content"]

        def update() -> float:
            made = measure(make, folder=served).seconds
            return made + measure([program("zsync"), "-q", "-i", old, "-o", place / "copy", url], folder=place).seconds

        yield Contender(ZSYNC, _counted(relay, update), prepare, lambda: check_content(new, place / "copy"))


@contextmanager
def web(bench: Bench, root: Path) -> Iterator[StreamRelay]:
    """nginx serving `root`, behind a relay."""
    with nginx(bench.fresh(f"{root.name}.nginx"), f"root {root};") as port, StreamRelay(port) as relay:
        yield relay


def _one_file(directory: Path, tar: Path) -> Path:
    """The directory's only file, or a tar of it."""
    entries = list(directory.iterdir())
    if len(entries) == 1 and entries[0].is_file():
        return entries[0]
    measure([program("tar"), "--sort=name", "--owner=0", "--group=0", "-C", directory, "-cf", tar, "."])
    return tar


def _counted(relay: StreamRelay, update: Callable[[], float]) -> Callable[[], Turn]:
    def turn() -> Turn:
        before = relay.bytes
        seconds = update()
        time.sleep(SETTLING)
        return Turn(seconds, {"wire bytes": relay.bytes - before})

    return turn
