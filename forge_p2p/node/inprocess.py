"""Runs one operation in the command's own process, when no node is up."""

from collections.abc import Callable
from typing import Any

from forge_p2p.config import NodeConfig
from forge_p2p.node.home import Home
from forge_p2p.node.local import LocalNode, Report, collect_less, ignore_progress
from forge_p2p.node.operations.table import Operation, operation
from forge_p2p.node.results import Result

OnBytes = Callable[[bytes], object]


def run(
    home: Home,
    config: NodeConfig,
    name: str,
    arguments: dict[str, Any],
    on_progress: Report | None = None,
    on_bytes: OnBytes | None = None,
) -> Result:
    """Runs operation `name` to its end. Raises what it raises; a network operation has an endpoint while it runs."""
    found = operation(name)
    beforehand = found.load_beforehand()
    if beforehand is not None:
        beforehand(home, config, **arguments)
    arguments = {"report": on_progress or ignore_progress, **arguments}
    with LocalNode(home, config) as node:
        result: Result | None = None
        if not found.network:
            result = found.load()(node, **arguments)
        elif found.first:
            result = found.load_first()(node, **arguments)
        return result if result is not None else _run_async(node, found, arguments, on_bytes)


def _run_async(node: LocalNode, found: Operation, arguments: dict[str, Any], on_bytes: OnBytes | None) -> Result:
    import trio

    async def emit(content: bytes) -> None:
        if on_bytes is not None:
            await trio.to_thread.run_sync(on_bytes, content)

    if found.emits:
        arguments = {"emit": emit, **arguments}

    from forge_p2p.node.network import open_network

    collect_less()

    async def main() -> Result:
        async with open_network(node, serve=False) as network:
            result: Result = await found.load()(network, **arguments)
            return result

    return trio.run(main)
