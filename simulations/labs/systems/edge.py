"""Forge with a bucket: nobody has the content but that, and the agents find and help one another.

The bucket is a folder at the origin, and nginx is in front of it, as a CDN. The agents see a copy of its records alone,
so that all content crosses the origin's cable: what the origin sends is what the edge gives.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from simulations.labs.programs import Program
from simulations.labs.systems import forge
from simulations.labs.systems.base import Stage
from simulations.labs.systems.forge import ForgeNetwork
from simulations.labs.systems.http import start_nginx
from simulations.labs.topology import ROOT, Host


class ForgeEdge(ForgeNetwork):
    """In one network, whose founder has nothing of the content."""

    name: str = "forge-edge"

    @contextmanager
    def open(self, stage: Stage) -> Iterator[Mapping[str, Program]]:
        bucket = stage.origin.folder / "bucket"
        token = forge.found_network(stage.origin, lan=stage.scenario.lan)
        link = _publish(stage, f"file://{bucket}")
        records = stage.origin.folder / "records"
        shutil.copytree(bucket, records, ignore=shutil.ignore_patterns("blobs"))
        start_nginx(stage.origin, f"location / {{ root {bucket}; }}")
        agents = list(stage.agents.values())
        forge.join(agents, token, lan=stage.scenario.lan)
        for host in agents:
            forge.run(host, "edge", "set", f"file://{records}", "--cdn", f"http://{stage.origin.address}")
            forge.up(host)
        for host in agents:
            forge.wait_for_peers(host, 1)
        yield forge.fetchers(stage, link)


def _publish(stage: Stage, url: str) -> str:
    """Puts the content into the bucket, from a node's folder that is not used again."""
    host = stage.origin
    link = _once(host, "add", str(stage.content))
    _once(host, "edge", "set", url)
    _once(host, "edge", "push", link)
    return link


def _once(host: Host, *arguments: str) -> str:
    variables = {"FORGE_HOME": str(host.folder / "publisher"), "PYTHONPATH": str(ROOT)}
    return forge.finish(host.start([*forge.COMMAND, *arguments], variables, "publisher.log"))
