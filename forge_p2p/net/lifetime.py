"""How long an endpoint lives: its tasks run while its context is open, and end with it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

import trio


class _Closing(Protocol):
    def aclose(self) -> Awaitable[None]: ...


_Endpoint = TypeVar("_Endpoint", bound=_Closing)


@asynccontextmanager
async def alive(endpoint: _Endpoint, start: Callable[[trio.Nursery], None]) -> AsyncIterator[_Endpoint]:
    """Starts the tasks of `endpoint`; leaving the context closes it and ends them. An error of the body comes out as
    it is, not in the nursery's group."""
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        start(nursery)
        try:
            yield endpoint
        except Exception as error:  # noqa: BLE001 - raised again below, where the nursery cannot wrap it in a group
            failure = error
        finally:
            await endpoint.aclose()
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
