"""`forge down`: the node stops."""

import fcntl
import os
import time

import click

from forge_p2p.cli.output import emit
from forge_p2p.cli.run import call_node
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.errors import NotFound, PeerError
from forge_p2p.node.home import Home
from forge_p2p.node.results import DownResult


@click.command("down", cls=ForgeCommand)
@pass_settings
def command(settings: Settings) -> None:
    """Stop the node. Peers are told; what they had received is not lost."""
    home = Home(settings.home)
    result = call_node(home, "down", {}, None)
    if result is None:
        raise NotFound(f"no node is up on {settings.home}", hint="forge up starts one")
    assert isinstance(result, DownResult)
    if not _gone(home):
        raise PeerError(f"process {result.pid} was told to stop and is still there", hint=f"its log: {home.log}")
    emit(settings, result, [f"process {result.pid} has stopped"])


PATIENCE = 15.0
"""Seconds that a node may take to tell its peers and close its store."""


def _gone(home: Home) -> bool:
    """Waits until the node has let go of its folder, so that the next `forge up` finds it free."""
    try:
        lock = os.open(home.lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    end = time.monotonic() + PATIENCE
    try:
        while time.monotonic() < end:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.02)
            else:
                return True
        return False
    finally:
        os.close(lock)
