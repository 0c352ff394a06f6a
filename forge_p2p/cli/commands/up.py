"""`forge up`: the node starts."""

import os
import subprocess
import sys
from dataclasses import replace
from typing import IO

import click

from forge_p2p import errors
from forge_p2p.cli.config import read_address, read_peers
from forge_p2p.cli.output import emit
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.errors import DiskError, ForgeError
from forge_p2p.node.home import Home
from forge_p2p.node.results import UpResult


@click.command("up", cls=ForgeCommand)
@click.option(
    "--listen", default="", metavar="ADDR:PORT", help="Where to listen; the settings file's `listen` otherwise."
)
@click.option("--no-lan", is_flag=True, help="Neither announce the node on the LAN nor look for others there.")
@click.option(
    "--peer", "peers", multiple=True, metavar="NODEID@ADDR:PORT", help="A node to connect to, beside `net.peers`."
)
@click.option("--detach", "-d", is_flag=True, help="Return as soon as the node is up, and leave it running.")
@pass_settings
def command(settings: Settings, listen: str, no_lan: bool, peers: tuple[str, ...], detach: bool) -> None:
    """Start the node.

    It answers for what is shared, and other commands use it while it is up. It runs until it is interrupted or until
    forge down; with --detach in the background, its messages going to node.log in its folder.
    """
    config = settings.config
    net = replace(config.net, lan=config.net.lan and not no_lan, peers=config.net.peers + read_peers(peers))
    config = replace(config, net=net, listen=read_address(listen) if listen else config.listen)
    if detach:
        words = ["--listen", listen] if listen else []
        words += ["--no-lan"] * no_lan + [f"--peer={peer}" for peer in peers]
        _show(settings, _detached(Home(settings.home), words))
        return

    from forge_p2p.node import daemon

    daemon.run(Home(settings.home), config, lambda up: _show(settings, up))


def _show(settings: Settings, up: UpResult) -> None:
    emit(
        settings, up, [f"node {up.node_id} is up, process {up.pid}", *(f"listening on {each}" for each in up.addresses)]
    )


def _detached(home: Home, options: list[str]) -> UpResult:
    """Starts a node that outlives this command, and waits until it is up. Raises what made it fail."""
    import msgspec

    home.create()
    words = [sys.executable, "-m", "forge_p2p.cli.main", "--home", str(home.path), "--json", "up", *options]
    with _log(home) as log:
        begin = log.seek(0, os.SEEK_END)
        node = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, cwd="/", start_new_session=True
        )
        assert node.stdout is not None
        with node.stdout:
            line = node.stdout.readline()
        if line.endswith(b"\n"):
            return msgspec.json.decode(line, type=UpResult)
        node.wait()
        log.seek(begin)
        raise _failure(log.read(), home)


def _log(home: Home) -> IO[bytes]:
    try:
        return open(home.log, "a+b")
    except OSError as error:
        raise DiskError(f"cannot write {home.log}: {error.strerror}") from error


def _failure(said: bytes, home: Home) -> ForgeError:
    """What the node that could not start wrote last (`main` with `--json`), as the error it was."""
    import json

    try:
        told = json.loads(said.splitlines()[-1])
        kind: type[ForgeError] = getattr(errors, told["error"], ForgeError)
        return kind(told["message"], hint=told["hint"])
    except (IndexError, KeyError, TypeError, ValueError):
        return ForgeError("the node ended before it was up", hint=f"its log says why: {home.log}")
