"""Git repositories that a seed follows kept in few packs: `forge git upkeep`, run when one has moved.

It is a process of its own that has of the processors what nobody else wants, so serving does not suffer. It decides
what is to do, and mostly finds nothing. It may be killed at any time, and is when the seed goes down, with every git
that it runs. What fails is said and tried again later, and nothing else waits for it.
"""

import asyncio
import logging
import os
import signal
import sys
from contextlib import aclosing, suppress
from typing import Final

import msgspec

from forge_edge.seeds.children import die_with_parent
from forge_edge.seeds.file import SeedFile
from forge_edge.upstream.node import NodeLink
from forge_p2p.cli.git_behind import step_back
from forge_p2p.errors import ForgeError
from forge_p2p.node.control import NoNode
from forge_p2p.node.home import Home
from forge_p2p.node.refs.results import FollowedChange
from forge_p2p.node.repositories.results import UpkeepResult

LOG = logging.getLogger("forge.seed")

REST: Final = 60.0
"""Seconds from one run to the next for the same name: who pushes all the time is looked at now and then."""

RETRY_FIRST, RETRY_MAX = 60.0, 3600.0
"""Seconds until what has failed is tried again, doubled each time: most faults need somebody to mend them."""

_AGAIN: Final = 2.0
"""Seconds until a node that is not up, or not in the network yet, is asked again."""


class Upkeep:
    """Of one seed's names; one run at a time."""

    def __init__(self, seed: SeedFile) -> None:
        self._home = Home(seed.home)
        self._names = [each.name for each in seed.follow if each.upkeep]
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Keeps them up until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name in self._names:
                group.create_task(self._keep(name))

    async def _keep(self, name: str) -> None:
        """Runs upkeep whenever the name has moved and its content is here."""
        done = 0
        while True:
            with suppress(NoNode, ForgeError):
                async with aclosing(NodeLink(self._home).stream("follow", name=name)) as lines:
                    async for line in lines:
                        change = msgspec.json.decode(line, type=FollowedChange)
                        if change.complete and change.seq > done:
                            done = await self._patiently(name)
                            await asyncio.sleep(REST)
            await asyncio.sleep(_AGAIN)

    async def _patiently(self, name: str) -> int:
        """The record that the name is at once upkeep has gone well."""
        pause = RETRY_FIRST
        while True:
            try:
                async with self._turn:
                    return _told(name, await self._run(name))
            except (ForgeError, OSError, msgspec.DecodeError) as error:
                LOG.error("no upkeep of %s: %s; trying again in %.0f s", name, error, pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, RETRY_MAX)

    async def _run(self, name: str) -> UpkeepResult:
        """Raises `OSError`, and `ForgeError` with what the command has said."""
        words = (
            "-P",
            "-m",
            "forge_p2p.cli.main",
            "--home",
            str(self._home.path),
            "--json",
            "git",
            "upkeep",
            "--",
            name,
        )
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            start_new_session=True,
            preexec_fn=_in_the_background,
        )
        try:
            output, errors = await process.communicate()
        except asyncio.CancelledError:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            raise
        if process.returncode:
            raise ForgeError(_fault(errors, process.returncode))
        return msgspec.json.decode(output, type=UpkeepResult)


def _in_the_background() -> None:
    """Between fork and exec."""
    die_with_parent()
    step_back()


def _fault(errors: bytes, code: int) -> str:
    """What a command with `--json` has said before it ended with `code`."""
    last = (errors.splitlines() or [b""])[-1]
    try:
        told = msgspec.json.decode(last, type=dict[str, str | int])
    except msgspec.DecodeError:
        return last.decode(errors="replace") or f"it ended with {code}"
    return f"{told.get('message')} ({told['hint']})" if told.get("hint") else str(told.get("message"))


def _told(name: str, result: UpkeepResult) -> int:
    for note in result.notes:
        LOG.warning("upkeep of %s: %s", name, note)
    if result.moved:
        done = [f"{result.joined} packs made one"] if result.joined else []
        done += ["a new commit-graph"] if result.graph else []
        LOG.info("upkeep of %s: %s, record %d", name, ", ".join(done), result.seq)
    return result.seq
