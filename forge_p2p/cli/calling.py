"""An operation in the node that is up, or else in this process. Apart from `run`: git's helper pays for no terminal."""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from forge_p2p.cli.home import Settings
from forge_p2p.node.control import NoNode, call
from forge_p2p.node.home import Home

if TYPE_CHECKING:
    from forge_p2p.node.results import Progress, Result

OnBytes = Callable[[bytes], object]


def call_or_run(
    settings: Settings,
    name: str,
    arguments: dict[str, Any],
    on_progress: "Callable[[Progress], None] | None" = None,
    on_bytes: OnBytes | None = None,
) -> "Result":
    """The result of operation `name`. Raises what the operation does."""
    home = Home(settings.home)
    with suppress(NoNode):
        return call(home, name, arguments, on_progress, on_bytes)
    from forge_p2p.node import inprocess

    return inprocess.run(home, settings.config, name, arguments, on_progress, on_bytes)
