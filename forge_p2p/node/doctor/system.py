"""The running node, the clock, and what the system lets a process have."""

import contextlib
import os
import resource
import threading
import time
from pathlib import Path
from typing import Final

from forge_p2p.errors import ForgeError
from forge_p2p.node.control import NoNode, call
from forge_p2p.node.doctor.findings import fail, ok, warn
from forge_p2p.node.doctor.wording import duration
from forge_p2p.node.home import Home
from forge_p2p.node.results import Finding, StatusResult

ANSWER_TIMEOUT: Final = 5.0
FILES_ENOUGH: Final = 1024
"""Open files that a node with many peers and a large store may need; what most systems allow."""

CLOCK_SLACK: Final = 600.0
"""Seconds by which another machine, from which a file came, may have been ahead."""

TOO_LATE: Final = 20 * 365 * 86400.0


Answer = StatusResult | ForgeError | NoNode | None
"""What the node on a folder says of itself; `None` when it does not answer."""


def check_node(home: Home, status: Answer) -> Finding:
    """Whether a node is up and answers."""
    if isinstance(status, NoNode):
        return ok("node", "not up; forge up starts it")
    if status is None:
        hint = f"{home.log} may say what keeps it; forge down, or kill it, and start it again"
        return fail("node", f"a node is up and has not answered within {ANSWER_TIMEOUT:.0f} seconds", hint)
    if isinstance(status, ForgeError):
        return fail("node", status.message, status.hint)
    if status.lan_problem:
        return warn("node", f"up, but on the LAN: {status.lan_problem}", "see the line LAN below")
    return ok("node", f"up for {duration(status.uptime)}, process {status.pid}, peers connected: {len(status.peers)}")


def ask_node(home: Home) -> Answer:
    """Asks the node for its status, and waits `ANSWER_TIMEOUT` at most."""
    answers: list[Answer] = []

    def ask() -> None:
        try:
            result = call(home, "status", {})
            assert isinstance(result, StatusResult)
            answers.append(result)
        except (ForgeError, NoNode) as error:
            answers.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(ANSWER_TIMEOUT)
    return answers[0] if answers else None


def check_clock(now: float, known: list[tuple[float, str]]) -> Finding:
    """Whether `now` (Unix seconds) can be right, going by moments that are `known` to have passed."""
    latest, what = max(known)
    said = time.strftime("%Y-%m-%d %H:%M", time.gmtime(now))
    hint = "set the clock (timedatectl set-ntp true): tickets and memberships expire by it"
    if now < latest - CLOCK_SLACK:
        return fail("clock", f"it says {said} UTC, {duration(latest - now)} before {what}", hint)
    if now > latest + TOO_LATE:
        return fail("clock", f"it says {said} UTC, {duration(now - latest)} after {what}", hint)
    return ok("clock", f"{said} UTC")


def known_dates(home: Home) -> list[tuple[float, str]]:
    """Moments that have certainly passed: when this program and the node's files were written."""
    dates = []
    for path in (Path(__file__), home.key_file, home.log, home.store / "store.lmdb"):
        with contextlib.suppress(OSError):
            dates.append((os.stat(path).st_mtime, f"{path} was written"))
    return dates


def check_open_files() -> Finding:
    """Whether this user's processes may open enough files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= FILES_ENOUGH:
        return ok("open files", f"a process may have {'any number' if soft == resource.RLIM_INFINITY else soft}")
    raised = hard if 0 <= hard < FILES_ENOUGH else FILES_ENOUGH
    hint = f"ulimit -n {raised}, or LimitNOFILE={FILES_ENOUGH} in the service's unit"
    return warn("open files", f"a process may have only {soft}, and a busy node needs up to {FILES_ENOUGH}", hint)
