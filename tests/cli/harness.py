"""Runs the real command in a process of its own, with a folder of its own."""

import os
import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-m", "forge_p2p.cli.main"]
ROOT = Path(__file__).parents[2]
TIMEOUT = 60


def environment(home: Path, **more: str) -> dict[str, str]:
    """This process's environment without what would steer Forge, and with `home` as the node's folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FORGE_", "_FORGE", "XDG_"))}
    return {**kept, "FORGE_HOME": str(home), "PYTHONPATH": str(ROOT), **more}


def forge(home: Path, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    """One command, to its end. `more` goes to its environment."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(home, **more),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
