"""Runs an operation where it belongs: in the node that is up, or else in this process."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

from forge_p2p.cli.calling import OnBytes, call_or_run
from forge_p2p.cli.progress import ProgressBar
from forge_p2p.cli.settings import Settings
from forge_p2p.content.pathtext import path_text
from forge_p2p.node.control import NoNode, call
from forge_p2p.node.home import Home
from forge_p2p.node.results import Result

R = TypeVar("R", bound=Result)


def run_operation(
    settings: Settings, kind: type[R], name: str, arguments: dict[str, Any], on_bytes: OnBytes | None = None
) -> R:
    """The result of operation `name`, which is a `kind`; a progress bar meanwhile. Raises what the operation does."""
    result = runner(settings)(name, arguments, on_bytes)
    assert isinstance(result, kind), f"{name} returned {type(result).__name__}"
    return result


def runner(settings: Settings) -> Callable[..., Result]:
    """As `run_operation`, for what runs operations of several kinds: `git.calls.Run`."""

    def run(name: str, arguments: dict[str, Any], on_bytes: OnBytes | None = None) -> Result:
        with ProgressBar(settings) as progress:
            return call_or_run(settings, name, arguments, progress, on_bytes)

    return run


def call_node(home: Home, name: str, arguments: dict[str, Any], progress: ProgressBar | None) -> Result | None:
    """The result from the node that is up on `home`; `None` when none is."""
    try:
        return call(home, name, arguments, progress)
    except NoNode:
        return None


def path_argument(path: str) -> str:
    """A path of this machine as an operation takes it: absolute, since the node has another working folder."""
    return path_text(os.fsencode(os.path.abspath(os.path.expanduser(path))))
