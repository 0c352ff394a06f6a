"""`forge-edge serve`: the gateway starts."""

import asyncio
import logging
import sys
from dataclasses import replace
from pathlib import Path

import click
import msgspec

from forge_edge.settings import GatewaySettings
from forge_p2p.cli.config import read_address
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings


@click.command("serve", cls=ForgeCommand)
@click.option("--config", "file", default="", metavar="FILE", help="A seed's file, of which [gateway] counts.")
@click.option("--listen", default="", metavar="ADDR:PORT", help="TCP; 127.0.0.1:8080 otherwise.")
@click.option("--public", multiple=True, metavar="NETWORK[/NAME]", help="What needs no credential; may be repeated.")
@click.option("--tls", nargs=2, default=("", ""), metavar="CERT KEY", help="PEM files, for HTTPS.")
@pass_settings
def command(settings: Settings, file: str, listen: str, public: tuple[str, ...], tls: tuple[str, str]) -> None:
    """Serve what a node has over HTTP.

    Stands beside the node that is up on the same folder, and asks it for what the store lacks. Without a node only what
    is in the store is served. Nothing is open to everybody unless --public says so.
    """
    gateway = _settings(settings, file)
    if public:
        gateway = replace(gateway, public=gateway.public + public)
    if listen:
        gateway = replace(gateway, listen=read_address(listen))
    if tls[0]:
        gateway = replace(gateway, tls_certificate=tls[0], tls_key=tls[1])
    run(gateway)


def _settings(settings: Settings, file: str) -> GatewaySettings:
    if not file:
        return GatewaySettings(Path(settings.home), store=settings.config.store)
    from forge_edge.seeds.file import load_file

    seed = load_file(Path(file))
    return seed.gateway or GatewaySettings(seed.home, store=seed.node.store)


class Up(msgspec.Struct, frozen=True):
    """The first line on standard output."""

    url: str


def run(gateway: GatewaySettings) -> None:
    """Serves until SIGINT or SIGTERM. Raises what stops it from beginning."""
    from forge_edge.serving.run import serve

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="forge-edge: %(message)s")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    asyncio.run(serve(gateway, _say_ready))


def _say_ready(url: str) -> None:
    sys.stdout.write(msgspec.json.encode(Up(url)).decode() + "\n")
