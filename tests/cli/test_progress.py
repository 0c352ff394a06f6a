"""The progress bar draws on terminals only, and only for what takes a while."""

import os
import pty
import subprocess
import sys
from pathlib import Path

from tests.cli.harness import ROOT

DRIVER = """
import sys, time
from forge_p2p.cli.progress import ProgressBar
from forge_p2p.cli.settings import Settings
from forge_p2p.node.results import Progress
wait, quiet = float(sys.argv[1]), sys.argv[2] == "quiet"
with ProgressBar(Settings(quiet=quiet)) as progress:
    time.sleep(wait)
    progress(Progress("fetch", 250_000, 1_000_000, 3, 12, "from [2001:db8::1]:4433"))
    progress(Progress("fetch", 1_000_000, 1_000_000, 12, 12, "from [2001:db8::1]:4433"))
print("rich" in sys.modules)
"""


def drive(wait: float, quiet: bool = False, *, terminal: bool = True) -> tuple[str, bool]:
    """What the driver drew on standard error, and whether it imported rich."""
    ours, theirs = pty.openpty()
    with open(ours, "rb", buffering=0) as screen:
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(wait), "quiet" if quiet else "loud"],
            env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "120"},
            stdout=subprocess.PIPE,
            stderr=theirs if terminal else subprocess.DEVNULL,
            text=True,
        )
        os.close(theirs)
        drawn = read_all(screen.fileno())
        told, _ = process.communicate(timeout=60)
    return drawn, told.strip() == "True"


def read_all(descriptor: int) -> str:
    """Until the other side of the terminal closes, which Linux reports as EIO."""
    drawn = b""
    while True:
        try:
            piece = os.read(descriptor, 65536)
        except OSError:
            return drawn.decode()
        if not piece:
            return drawn.decode()
        drawn += piece


def test_slow_on_a_terminal() -> None:
    drawn, rich = drive(0.25)
    assert rich
    assert "Fetching" in drawn
    assert "12 of 12 files" in drawn
    assert "from [2001:db8::1]:4433" in drawn, "text in brackets is not markup"


def test_quick_or_quiet_or_elsewhere_draws_nothing() -> None:
    assert drive(0.0) == ("", False)
    assert drive(0.25, quiet=True) == ("", False)
    assert drive(0.25, terminal=False)[1] is False


def test_no_terminal_is_made_by_settings(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        subprocess.run(
            [sys.executable, "-c", DRIVER, "0.25", "loud"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=file,
            check=True,
            timeout=60,
        )
    assert log.read_bytes() == b""
