"""Two instances of Syncthing that know each other and share one folder.

Default settings, but for what needs the Internet (discovery by servers, relays, port mapping, reports, upgrades), and
with each other's address given instead of looked for. It does not lower its own priority, as it would by default.
"""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulations.versus.peers import free_port, program, wait_for
from simulations.versus.process import Failed, Service, measure

KEY = "measuring"
FOLDER = "content"
PATIENCE = 900.0
"""Seconds until something counts as never."""

DELAY = 10
"""Seconds by which changes are collected after the system has told of one: the default."""

CONFIGURATION = """<configuration version="35">
<folder id="{folder}" path="{path}" type="sendreceive" rescanIntervalS="3600" fsWatcherEnabled="true"
        fsWatcherDelayS="{delay}">{members}<paused>true</paused></folder>
{devices}
<gui enabled="true" tls="false"><address>127.0.0.1:{gui}</address><apikey>{key}</apikey></gui>
<options>
<listenAddress>tcp://127.0.0.1:{port}</listenAddress>
<globalAnnounceEnabled>false</globalAnnounceEnabled><localAnnounceEnabled>false</localAnnounceEnabled>
<relaysEnabled>false</relaysEnabled><natEnabled>false</natEnabled><startBrowser>false</startBrowser>
<urAccepted>-1</urAccepted><crashReportingEnabled>false</crashReportingEnabled>
<autoUpgradeIntervalH>0</autoUpgradeIntervalH><setLowPriority>false</setLowPriority>
</options>
</configuration>
"""


@dataclass(frozen=True, slots=True)
class Instance:
    """One of the two, with its folder."""

    home: Path
    path: Path
    device: str
    port: int
    gui: int

    def ask(self, path: str, change: dict[str, Any] | None = None) -> Any:
        """The REST interface: reads, or changes what is at `path`. Raises `OSError`."""
        body = None if change is None else json.dumps(change).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.gui}/rest/{path}", body)
        request.add_header("X-API-Key", KEY)
        if change is not None:
            request.method = "PATCH"
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def unpause(self) -> None:
        """Lets the folder be looked at and synced."""
        self.ask(f"config/folders/{FOLDER}", {"paused": False})

    def connected(self) -> bool:
        """Whether the other one is."""
        connections = self.ask("system/connections")["connections"]
        return any(each["connected"] for each in connections.values())

    def has_all(self, files: int) -> bool:
        """Whether it knows of so many files (symlinks among them), needs nothing and is at rest."""
        status = self.ask(f"db/status?folder={FOLDER}")
        known = status["globalFiles"] + status["globalSymlinks"]
        return bool(known == files and status["needTotalItems"] == 0 and status["state"] == "idle")

    def count(self) -> int:
        """How many files and symlinks it has by now."""
        status = self.ask(f"db/status?folder={FOLDER}")
        return int(status["localFiles"] + status["localSymlinks"])


@contextmanager
def pair(work: Path, here: Path, there: Path, delay: int = DELAY) -> "Iterator[tuple[Instance, Instance]]":
    """Both, connected; the folder is still paused. `work` does not exist yet, the two directories do."""
    one, other = _made(work / "one", here), _made(work / "other", there)
    for each in (one, other):
        _configure(each, (one, other), delay)
    with Service(_serving(one)), Service(_serving(other)):
        for each in (one, other):
            wait_for(each.gui)
        until(lambda: one.connected() and other.connected())
        yield one, other


def until(holds: Callable[[], bool], pause: float = 0.05) -> None:
    """Waits. Raises `Failed` after `PATIENCE`."""
    if not within(PATIENCE, holds, pause):
        raise Failed(f"it does not happen within {PATIENCE:.0f} s")


def within(patience: float, holds: Callable[[], bool], pause: float = 0.05) -> bool:
    """Waits at most so many seconds, and says whether it came to hold."""
    end = time.monotonic() + patience
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True


def _made(home: Path, path: Path) -> Instance:
    words = [program("syncthing"), "generate", f"--home={home}", "--no-default-folder", "--skip-port-probing"]
    measure(words)
    device = measure([program("syncthing"), f"--home={home}", "--device-id"]).output.strip()
    return Instance(home, path, device, free_port(), free_port())


def _configure(instance: Instance, everyone: tuple[Instance, ...], delay: int) -> None:
    devices = (
        f'<device id="{each.device}" name="{each.home.name}"><address>tcp://127.0.0.1:{each.port}</address></device>'
        for each in everyone
    )
    text = CONFIGURATION.format(
        folder=FOLDER,
        path=instance.path,
        delay=delay,
        members="".join(f'<device id="{each.device}"/>' for each in everyone),
        devices="\n".join(devices),
        gui=instance.gui,
        port=instance.port,
        key=KEY,
    )
    (instance.home / "config.xml").write_text(text)
    (instance.path / ".stfolder").mkdir(exist_ok=True)


def _serving(instance: Instance) -> list[str]:
    return [program("syncthing"), "serve", f"--home={instance.home}", "--no-browser", "--no-upgrade", "--no-restart"]
