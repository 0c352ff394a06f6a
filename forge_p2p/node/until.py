"""Waiting until something is so: who changes it looks for those who wait, and wakes no one in vain.

A condition variable would wake all of them at every change, to look for themselves; with a thousand changes a second
that took a tenth of a fetch's processor time.
"""

from collections.abc import Callable

import trio


class Until:
    """Conditions that tasks wait for. A task that is woken finds its condition true, unless another task that was woken
    with it has made it false: then it waits on."""

    def __init__(self) -> None:
        self._waiting: dict[trio.Event, Callable[[], bool]] = {}

    async def true(self, condition: Callable[[], bool]) -> None:
        """Returns when `condition` holds. It is asked in `changed`, too, and must be cheap."""
        await trio.lowlevel.checkpoint()
        while not condition():
            event = trio.Event()
            self._waiting[event] = condition
            try:
                await event.wait()
            finally:
                self._waiting.pop(event, None)

    def changed(self) -> None:
        """Something that may be waited for has changed."""
        for event, condition in list(self._waiting.items()):
            if condition():
                event.set()
                del self._waiting[event]
