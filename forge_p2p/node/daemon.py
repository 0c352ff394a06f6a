"""A node's life: lock the folder, listen, serve peers and commands, and go down cleanly on request or on a signal."""

import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import trio

from forge_p2p.config import NodeConfig
from forge_p2p.errors import DiskError, StoreError
from forge_p2p.node.control_server import ControlServer, listening
from forge_p2p.node.folders import watch_folders
from forge_p2p.node.healing import Healer
from forge_p2p.node.home import Home
from forge_p2p.node.local import LocalNode, Report, collect_less, ignore_progress
from forge_p2p.node.network import Network, open_network
from forge_p2p.node.operations.table import operation
from forge_p2p.node.results import Result, UpResult

OnReady = Callable[[UpResult], None]
OnFirst = Callable[[Result], None]
FirstCall = tuple[str, dict[str, Any], Report | None]


def run(
    home: Home,
    config: NodeConfig,
    on_ready: OnReady,
    first: FirstCall | None = None,
    on_first: OnFirst | None = None,
) -> None:
    """Runs a node until SIGINT, SIGTERM or `forge down`. `first` is an operation (name, arguments, report) to run as
    soon as it is up, its result going to `on_first`; an error of it takes the node down and is raised. Raises
    `StoreError` when a node is already up on this folder."""
    home.create()
    collect_less()
    with _locked(home), LocalNode(home, config) as node:
        trio.run(_main, node, on_ready, first, on_first)


async def _main(node: LocalNode, on_ready: OnReady, first: FirstCall | None, on_first: OnFirst | None) -> None:
    stop = trio.Event()
    async with open_network(node, serve=True) as network, listening(node.home) as listener:
        server = ControlServer(network, stop)
        async with trio.open_nursery() as nursery:
            await nursery.start(_watch_signals, stop)
            nursery.start_soon(trio.serve_listeners, server.handle, [listener])
            on_ready(network.up_result())
            nursery.start_soon(trio.to_thread.run_sync, _import_ahead)
            nursery.start_soon(_upkeep, node)
            nursery.start_soon(watch_folders, node)
            healer = Healer(network)
            node.heal_with(healer.report)
            nursery.start_soon(healer.run)
            if first is not None:
                nursery.start_soon(_run_first, network, first, on_first)
            await stop.wait()
            nursery.cancel_scope.cancel()


def _import_ahead() -> None:
    """What the first fetch would wait for, and the first clone: 15 ms."""
    import forge_p2p.node.fetch.swarming
    import forge_p2p.store.ingest  # noqa: F401

    for name in ("git_read", "git_files"):
        operation(name).load()


async def _run_first(network: Network, first: FirstCall, on_first: OnFirst | None) -> None:
    name, arguments, report = first
    result = await operation(name).load()(network, report=report or ignore_progress, **arguments)
    if on_first is not None:
        on_first(result)


async def _watch_signals(stop: trio.Event, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            stop.set()


UPKEEP_INTERVAL = 600.0
"""Seconds. Collection costs one walk over the pins, so it need not be eager; quotas are kept by writers as they go."""


async def _upkeep(node: LocalNode) -> None:
    """Collects what nothing needs any more, every now and then."""
    from forge_p2p.node.operations.upkeep import store_gc

    while True:
        await trio.sleep(UPKEEP_INTERVAL)
        await trio.to_thread.run_sync(lambda: store_gc(node, report=ignore_progress))


@contextmanager
def _locked(home: Home) -> Iterator[None]:
    """Holds the folder's lock: at most one node a folder. The lock dies with the process, however it ends."""
    try:
        descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DiskError(f"cannot open {home.lock}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreError(f"a node is already up on {home.path}", hint="forge status, or forge down") from error
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)
