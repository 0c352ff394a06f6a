"""Rounds whenever something changes: in the directory, by the system's notifications; under the name, by the heads that
members tell each other; and now and then without either, for both may be lost.

A round that fails as a whole (the home cannot be reached, the disk is full) is told, and tried again later and later.
What a round wrote is noticed, too, and answered by one that finds nothing to do.
"""

import logging
import os
import threading
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import trio

from forge_p2p.content.ref import RefRecord
from forge_p2p.errors import ForgeError, UsageError
from forge_p2p.node.groups import unwrapped
from forge_p2p.node.syncing.results import SyncResult, SyncTrouble
from forge_p2p.node.syncing.rounds import Syncing
from forge_p2p.workspace.names import is_leftover

LOG = logging.getLogger("forge")

RESCAN: Final = 60.0
"""Seconds after which both sides are looked at without a hint."""

RESCAN_UNWATCHED: Final = 5.0
"""The same, where the system cannot watch the directory."""

SETTLE: Final = 2.0
"""Seconds after the first round until the second: what changed between its scan and the first notification."""

BUSY: Final = 1.0
"""Seconds after which a file is looked at again that was being written."""

RETRY_FIRST, RETRY_MAX = 1.0, 30.0
"""Seconds until a round that failed is tried again, doubled each time."""

QUIET_MS: Final = 40
"""Milliseconds without a change after which what changed is looked at: who saves a file in steps is let finish."""

PATIENCE_MS: Final = 500
"""The longest that changes are waited out, in milliseconds."""

Emit = Callable[[bytes], Awaitable[None]]


async def watch_folder(syncing: Syncing, emit: Emit) -> SyncResult:
    """Rounds until cancelled. What goes wrong with the first is raised, and a `UsageError` later."""
    watch = _Watch(syncing)
    syncing.members.names.told.append(watch.heard)
    try:
        result = await syncing.round()
        await emit(msgspec.json.encode(result) + b"\n")
        with unwrapped():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch.notice)
                await watch.rounds(emit)
    finally:
        syncing.members.names.told.remove(watch.heard)
        watch.stop()
    return result


class _Watch:
    """One watched folder."""

    def __init__(self, syncing: Syncing) -> None:
        self._syncing = syncing
        self._changed = trio.Event()
        self._stopped = threading.Event()
        self._token = trio.lowlevel.current_trio_token()
        self._rescan = RESCAN
        self._is_first = True

    async def rounds(self, emit: Emit) -> None:
        """A round for every change, one after the other; never returns."""
        failures = 0
        while True:
            with trio.move_on_after(self._patience(failures)):
                await self._changed.wait()
            self._is_first = False
            self._changed = trio.Event()
            try:
                result = await self._syncing.round()
            except UsageError:
                raise
            except ForgeError as error:
                failures += 1
                LOG.info("syncing %s failed: %s", self._syncing.named.name, error)
                if failures == 1:
                    await emit(_told(error))
            else:
                failures = 0
                if _did_something(result):
                    await emit(msgspec.json.encode(result) + b"\n")

    def _patience(self, failures: int) -> float:
        if failures:
            return float(min(RETRY_FIRST * 2.0 ** (failures - 1), RETRY_MAX))
        if self._syncing.busy:
            return BUSY
        return SETTLE if self._is_first else self._rescan

    def heard(self, record: RefRecord) -> None:
        """A member says what the newest record of a name is."""
        if (record.network, record.name) == (self._syncing.named.network, self._syncing.named.name):
            self._changed.set()

    async def notice(self) -> None:
        """Waits for changes in the directory, in a thread of its own."""
        await trio.to_thread.run_sync(self._notice, abandon_on_cancel=True)

    def stop(self) -> None:
        """Ends that thread."""
        self._stopped.set()

    def _notice(self) -> None:
        from watchfiles import watch

        try:
            for changes in watch(
                os.fsdecode(self._syncing.folder.path),
                watch_filter=None,
                debounce=PATIENCE_MS,
                step=QUIET_MS,
                stop_event=self._stopped,
                rust_timeout=1000,
                raise_interrupt=False,
            ):
                if any(not _is_ours(path) for _, path in changes):
                    self._token.run_sync_soon(self._wake)
        except (OSError, RuntimeError) as error:  # too many folders for the system's limit, for example
            LOG.warning("the system cannot watch %r: %s", self._syncing.folder.path, error)
            self._rescan = RESCAN_UNWATCHED

    def _wake(self) -> None:
        self._changed.set()


def _is_ours(path: str) -> bool:
    """Whether a restore made this for a moment."""
    return any(is_leftover(part) for part in os.fsencode(path).split(b"/")[-2:])


def _did_something(result: SyncResult) -> bool:
    changes = (result.sent, result.sent_removals, result.received, result.received_removals, result.conflicts)
    return any(changes) or bool(result.problems)


def _told(error: ForgeError) -> bytes:
    return msgspec.json.encode(SyncTrouble(type(error).__name__, error.message, error.hint)) + b"\n"
