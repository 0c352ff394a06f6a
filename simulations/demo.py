"""`make demo`: two nodes on this machine. One shares a real directory, the other gets it; then both are compared.

Everything happens in a temporary folder, with the commands that a person would type, and what was started is stopped.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from forge_p2p.cli.units import format_duration, format_size
from simulations.versus.inputs import check_same

WHEEL = "django"
FORGE = Path(sys.executable).parent / "forge"

console = Console(highlight=False)


def main() -> int:
    """Exit code 0 when the copy is the same as the source."""
    with tempfile.TemporaryDirectory(prefix="forge-demo-") as folder:
        work = Path(folder)
        source, what = some_directory(work)
        console.print(f"\nA real directory: {what}\n")
        with sharing(work / "a", source) as ticket:
            first = get(work / "b", ticket, work / "copy")
            again = get(work / "b", ticket, work / "copy")
        check_same(source, work / "copy")
        summary(first, again)
    return 0


def some_directory(work: Path) -> tuple[Path, str]:
    """An unpacked wheel from PyPI; without a network, the packages that Forge itself runs on."""
    console.print(f"Downloading {WHEEL} from PyPI …")
    words = ["pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--timeout=10", "--retries=1"]
    try:
        subprocess.run(
            [sys.executable, "-m", *words, f"--dest={work}", WHEEL], check=True, timeout=120, capture_output=True
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        installed = Path(sysconfig.get_path("purelib"))
        return installed, f"{installed} (PyPI is out of reach, so the packages installed here)"
    (wheel,) = work.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(work / "source")
    return work / "source", f"{wheel.name}, unpacked"


@contextmanager
def sharing(home: Path, source: Path) -> Iterator[str]:
    """Node A: `forge share`, which serves until it is interrupted. Gives the ticket."""
    words = command(home, "share", source)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as node:
        try:
            assert node.stdout is not None
            ticket = node.stdout.readline().strip()
            if not ticket:
                raise SystemExit(node.wait())
            console.print(f"{ticket[:60]}…\n", style="bold")
            yield ticket
        finally:
            node.send_signal(signal.SIGINT)


def get(home: Path, ticket: str, destination: Path) -> dict[str, Any]:
    """Node B: `forge get`. Its result, with the seconds of the whole command."""
    start = time.monotonic()
    done = subprocess.run(
        command(home, "--json", "get", ticket, destination), stdout=subprocess.PIPE, check=True, text=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return {**result, "command": time.monotonic() - start}


def command(home: Path, *words: str | os.PathLike[str]) -> Sequence[str]:
    """The command line, shown as it would be typed."""
    typed = ["forge", "--home", home.name, *(os.fspath(word) for word in words if word != "--json")]
    shown = " ".join(shlex.quote(word if len(word) < 60 else f"{word[:16]}…") for word in typed)
    console.print(f"[bold green]$[/] {shown}", soft_wrap=True)
    return [os.fspath(word) for word in (FORGE, "--home", home, *words)]


def summary(*results: dict[str, Any]) -> None:
    """What moved, and how fast."""
    table = Table("", "first get", "again, unchanged")
    for column in table.columns[1:]:
        column.justify = "right"
    rows: dict[str, Callable[[dict[str, Any]], str]] = {
        "files": lambda result: f"{result['files']:,}",
        "size": lambda result: format_size(result["bytes"]),
        "fetched": lambda result: format_size(result["fetched_bytes"]),
        "on the wire, both ways": lambda result: format_size(result["wire_sent"] + result["wire_received"]),
        "whole command": lambda result: format_duration(result["command"]),
        "rate": lambda result: f"{format_size(result['bytes'] / result['command'])}/s",
    }
    for name, cell in rows.items():
        table.add_row(name, *map(cell, results))
    console.print("\nBoth directories are the same, byte for byte.", style="bold")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
