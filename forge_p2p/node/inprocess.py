"""Runs one operation in the command's own process, when no node is up."""

from collections.abc import Callable
from typing import Any

from forge_p2p.config import NodeConfig
from forge_p2p.node.home import Home
from forge_p2p.node.local import LocalNode, Report, ignore_progress
from forge_p2p.node.operations import Operation, operation
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
    """Runs operation `name` to its end. Raises what it raises; a network operation gets an endpoint for its own time."""
    found = operation(name)
    report = on_progress or ignore_progress
    extra: dict[str, Any] = {"on_bytes": on_bytes or ignore_bytes} if found.emits else {}
    with LocalNode(home, config) as node:
        if not found.network:
            result: Result = found.load()(node, report=report, **arguments)
            return result
        return _run_async(node, found, {"report": report, **extra, **arguments})


def ignore_bytes(content: bytes) -> None:
    """For content that nobody takes."""


def _run_async(node: LocalNode, found: Operation, arguments: dict[str, Any]) -> Result:
    import trio

    from forge_p2p.node.network import open_network

    async def main() -> Result:
        async with open_network(node, serve=False) as network:
            result: Result = await found.load()(network, **arguments)
            return result

    return trio.run(main)
