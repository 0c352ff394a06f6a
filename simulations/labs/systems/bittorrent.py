"""libtorrent: the origin seeds, every agent knows every other from the start, as from a tracker that names them all."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from simulations.labs.programs import Program
from simulations.labs.systems.base import Stage
from simulations.labs.tools import LabError
from simulations.labs.topology import ROOT, Host


class BitTorrent:
    """One `bittorrent_peer` a host."""

    def __init__(self, *, super_seeding: bool = False) -> None:
        self._super_seeding = super_seeding
        self.name = "libtorrent-super" if super_seeding else "libtorrent"

    @contextmanager
    def open(self, stage: Stage) -> Iterator[Mapping[str, Program]]:
        torrent = stage.origin.folder / "content.torrent"
        mode = "super" if self._super_seeding else "seed"
        seed = _start(stage.origin, mode, torrent, stage.content.parent, [])
        seed.line()
        everybody = [stage.origin.address, *(host.address for host in stage.agents.values())]
        fetchers = {}
        for name, host in stage.agents.items():
            (host.folder / "copy").mkdir()
            others = [address for address in everybody if address != host.address]
            fetchers[name] = _start(host, "fetch", torrent, host.folder / "copy", others)
        for fetcher in fetchers.values():
            fetcher.line()
        yield fetchers

    def copy(self, host: Host) -> Path:
        return host.folder / "copy" / "content.bin"

    def restart(self, stage: Stage, host: Host) -> None:
        raise LabError("not built for libtorrent")


def _start(host: Host, mode: str, torrent: Path, folder: Path, peers: list[str]) -> Program:
    words: list[str | Path] = [
        sys.executable,
        "-m",
        "simulations.labs.hosted.bittorrent_peer",
        mode,
        torrent,
        folder,
        host.address,
    ]
    return host.start([*words, *peers], {"PYTHONPATH": str(ROOT)})
