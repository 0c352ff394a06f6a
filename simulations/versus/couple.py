"""Two nodes of Forge in a network of their own: one made it, the other keeps up with what the first publishes."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulations.versus.island import Island
from simulations.versus.peers import Forge
from simulations.versus.process import Finished, Service, Words, measure

NAME = "content"
SETTINGS = 'listen = "127.0.0.1:0"\n[net]\nlan = false\n'


@dataclass(frozen=True, slots=True)
class Node:
    """A node that is in the network."""

    forge: Forge
    island: Island

    def run(self, *arguments: "str | Path") -> Finished:
        """One command, to its end. Raises `Failed`."""
        return measure(self.words(*arguments))

    def told(self, *arguments: "str | Path") -> Any:
        """What the command tells as JSON. Raises `Failed`."""
        return json.loads(self.run("--json", *arguments).output)

    def words(self, *arguments: "str | Path") -> Words:
        """The words of a command."""
        return self.island.inside(self.forge.command(*arguments))

    @contextmanager
    def up(self) -> Iterator[None]:
        """The node runs meanwhile."""
        with Service(self.words("up")) as service:
            service.last_line()
            yield


@dataclass(frozen=True, slots=True)
class Couple:
    """`here` has made the network and publishes; `there` is a writer in it, and not up unless somebody starts it."""

    here: Node
    there: Node
    island: Island

    @classmethod
    @contextmanager
    def meeting(cls, work: Path) -> "Iterator[Couple]":
        """`work` is a folder that exists not yet."""
        with Island() as island:
            here, there = (_settled(work / name, island) for name in ("here", "there"))
            here.run("network", "create", "team")
            with here.up():
                admit(here, there)
                yield cls(here, there, island)


def admit(host: Node, guest: Node) -> None:
    """Makes `guest` a writer in `host`'s network."""
    guest.run("network", "join", host.run("network", "invite", "--role", "writer").output.splitlines()[-1])


def newcomer(home: Path, host: Node) -> Node:
    """One more writer, with an empty store."""
    guest = _settled(home, host.island)
    admit(host, guest)
    return guest


def _settled(home: Path, island: Island) -> Node:
    home.mkdir(mode=0o700, parents=True)
    (home / "config.toml").write_text(SETTINGS)
    return Node(Forge(home), island)
