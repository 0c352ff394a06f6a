"""A bucket at a local S3 server (moto): pushed to, pushed to again, fetched from, alone and beside a slow peer; rclone
does the same with one object a file."""

import json
import shutil
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from simulations.versus.bench import Bar, Bench, Case, Contender, Trial, Turn
from simulations.versus.inputs import MB, check_content
from simulations.versus.peers import Forge, free_port, program, wait_for
from simulations.versus.process import Finished, Service, measure

PUSH, GET, RCLONE, ALONE, BESIDE = "forge edge push", "forge get", "rclone copy", "edge alone", "edge, peer of 1 MB/s"

KEYS = {"AWS_ACCESS_KEY_ID": "forge", "AWS_SECRET_ACCESS_KEY": "forge-secret"}


@dataclass(frozen=True, slots=True)
class Server:
    """moto's S3 server with a bucket called forge."""

    endpoint: str

    @classmethod
    @contextmanager
    def serving(cls) -> "Iterator[Server]":
        port = free_port()
        with Service([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]):
            wait_for(port)
            endpoint = f"http://127.0.0.1:{port}"
            urllib.request.urlopen(urllib.request.Request(f"{endpoint}/forge", method="PUT"), timeout=60).close()
            yield cls(endpoint)

    def rclone(self, source: object, destination: object) -> Finished:
        """`rclone copy`; its S3 backend takes the keys from the environment."""
        variables = {
            **KEYS,
            "AWS_CA_BUNDLE": "",
            "RCLONE_CONFIG": "/dev/null",
            "RCLONE_S3_PROVIDER": "Other",
            "RCLONE_S3_ENV_AUTH": "true",
            "RCLONE_S3_ENDPOINT": self.endpoint,
            "RCLONE_S3_NO_CHECK_BUCKET": "true",
        }
        return measure([program("rclone"), "copy", str(source), str(destination)], environment=variables)

    def forge(self, node: Forge, *words: str | Path) -> Finished:
        """A command of Forge, with the keys in its environment."""
        return measure(node.command(*words), environment=KEYS)

    def use(self, node: Forge, prefix: str) -> None:
        """Makes a prefix of the bucket a node's bucket."""
        self.forge(
            node, "--quiet", "edge", "set", f"s3://forge/{prefix}", "--endpoint", self.endpoint, "--region", "auto"
        )


def _counted(finished: Finished) -> Turn:
    told = json.loads(finished.output)
    figures = {name: float(told[name]) for name in ("objects", "requests", "sent", "received")}
    return Turn(finished.seconds, {**figures, "cpu s": finished.cpu})


def _link(server: Server, node: Forge, path: Path) -> str:
    return str(json.loads(server.forge(node, "--json", "add", path).output)["link"])


@contextmanager
def push_tree(bench: Bench) -> Iterator[Trial]:
    """The whole tree into an empty prefix."""
    source = bench.inputs.tree
    node = Forge(bench.work / "edge.forge")
    turns = iter(range(1000))
    with Server.serving() as server:
        link = _link(server, node, source.path)

        def forge_turn() -> Turn:
            return _counted(server.forge(node, "--json", "edge", "push", link))

        def rclone_turn() -> Turn:
            finished = server.rclone(source.path, f":s3:forge/rclone{next(turns)}")
            return Turn(finished.seconds, {"objects": float(source.files), "cpu s": finished.cpu})

        contenders = [
            Contender(PUSH, forge_turn, lambda: server.use(node, f"tree{next(turns)}")),
            Contender(RCLONE, rclone_turn),
        ]
        bar = Bar("at most 40 objects", lambda medians: medians.figures[PUSH]["objects"] <= 40)
        note = f"{source.files:,} files, {source.bytes / MB:.0f} MB. rclone writes one object a file."
        yield Trial(contenders, source.bytes, [bar], note)


@contextmanager
def push_again(bench: Bench) -> Iterator[Trial]:
    """One small file of the tree has changed since."""
    tree = bench.fresh("tree.changing")
    shutil.copytree(bench.inputs.tree.path, tree, symlinks=True)
    node = Forge(bench.work / "edge.forge")
    changed = tree / "changed.txt"
    turns = iter(range(1000))
    links: list[str] = []
    with Server.serving() as server:
        changed.write_text("the first\n")
        server.use(node, "again")
        server.forge(node, "--json", "edge", "push", _link(server, node, tree))

        def change() -> None:
            changed.write_text(f"and now number {next(turns)}\n")
            links.append(_link(server, node, tree))

        def turn() -> Turn:
            return _counted(server.forge(node, "--json", "edge", "push", links[-1]))

        bars = [
            Bar("at most 3 requests", lambda medians: medians.figures[PUSH]["requests"] <= 3),
            Bar("under 100 kB", lambda medians: sum(medians.figures[PUSH][way] for way in ("sent", "received")) < 1e5),
        ]
        yield Trial([Contender(PUSH, turn, change)], 0, bars)


@contextmanager
def get_big(bench: Bench) -> Iterator[Trial]:
    """1 GB, of which no peer knows."""
    source = bench.inputs.big
    size = source.stat().st_size
    publisher, node = Forge(bench.work / "edge.forge"), Forge(bench.work / "getter.forge")
    copy, plain = bench.work / "copy.forge", bench.work / "copy.rclone"
    with Server.serving() as server:
        link = _published(server, publisher, source)
        server.rclone(source, ":s3:forge/plain")

        def forget() -> None:
            bench.fresh(copy.name)
            bench.fresh(node.home.name)
            server.use(node, "big")

        def forget_plain() -> None:
            bench.fresh(plain.name)

        def rclone_turn() -> Turn:
            finished = server.rclone(f":s3:forge/plain/{source.name}", plain)
            return Turn(finished.seconds, {"cpu s": finished.cpu})

        contenders = [
            Contender(GET, lambda: _got(server, node, link, copy), forget, lambda: check_content(source, copy)),
            Contender(RCLONE, rclone_turn, forget_plain),
        ]
        bar = Bar("as fast as rclone", lambda medians: medians.seconds[GET] <= medians.seconds[RCLONE])
        yield Trial(
            contenders, size, [bar], "rclone reads one object in four streams and compares no hash of what came."
        )


@contextmanager
def slow_peer(bench: Bench) -> Iterator[Trial]:
    """By ticket of a node that sends 1 MB/s, with the edge beside it."""
    source = bench.inputs.big
    publisher, slow = Forge(bench.work / "edge.forge"), Forge(bench.work / "slow.forge")
    node, copy = Forge(bench.work / "getter.forge"), bench.work / "copy.forge"
    slow.home.mkdir(parents=True)
    (slow.home / "config.toml").write_text('listen = "127.0.0.1:0"\n[net]\nlan = false\nlimit_up = "1MB/s"\n')
    with Server.serving() as server:
        link = _published(server, publisher, source)
        with slow.sharing(source) as (_, ticket):

            def forget() -> None:
                bench.fresh(copy.name)
                bench.fresh(node.home.name)
                server.use(node, "big")

            contenders = [
                Contender(
                    BESIDE, lambda: _got(server, node, ticket, copy), forget, lambda: check_content(source, copy)
                ),
                Contender(ALONE, lambda: _got(server, node, link, copy), forget, lambda: check_content(source, copy)),
            ]
            bar = Bar("within 1.2", lambda medians: medians.seconds[BESIDE] <= 1.2 * medians.seconds[ALONE])
            yield Trial(contenders, source.stat().st_size, [bar])


def _published(server: Server, node: Forge, source: Path) -> str:
    link = _link(server, node, source)
    server.use(node, "big")
    server.forge(node, "--json", "edge", "push", link)
    return link


def _got(server: Server, node: Forge, what: str, copy: Path) -> Turn:
    finished = server.forge(node, "--json", "get", what, copy)
    return Turn(finished.seconds, {"cpu s": finished.cpu, "peak MB": finished.peak / MB})


CASES = [
    Case("edge_push_tree", "`forge edge push` of the tree", push_tree, 3, warm=False),
    Case("edge_push_again", "`forge edge push` again after one file of the tree changed", push_again, 5),
    Case("edge_get", "`forge get` of 1 GB from a bucket alone", get_big, 5),
    Case("edge_slow_peer", "`forge get` of 1 GB with a peer of 1 MB/s and a bucket", slow_peer, 3),
]
