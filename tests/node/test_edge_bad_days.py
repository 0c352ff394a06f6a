"""Collections beside pushes, blobs that are damaged or gone, buckets that cannot be reached, and kills."""

import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import trio

from forge_p2p.bucket.base import blob_key
from forge_p2p.config import EdgeConfig, NodeConfig
from forge_p2p.content.catalogue import BlobName, CatalogueRecord, IndexEntry, State
from forge_p2p.content.link import Root
from forge_p2p.content.linktext import format_link, parse_link
from forge_p2p.errors import BucketError, BucketRefused, Malformed, NotFound, UsageError
from forge_p2p.ids import Hash
from forge_p2p.node.edge import checking, managing, pulling
from forge_p2p.node.edge.checking import Checker
from forge_p2p.node.edge.collecting import Collector
from forge_p2p.node.edge.feeding import EdgeFeed
from forge_p2p.node.edge.opened import Edge
from forge_p2p.node.edge.results import EdgeCheck, EdgeStatus
from forge_p2p.node.edge.source import FAILURES, EdgeSource
from forge_p2p.node.edge.uploading import Uploaded, Uploader
from forge_p2p.node.home import Home
from forge_p2p.node.local import LocalNode, ignore_progress
from forge_p2p.node.network import open_network
from forge_p2p.node.operations import adding
from forge_p2p.wire.codes import Code
from tests.cli.harness import COMMAND, environment
from tests.node.harness import CONFIG, HASTY, contents, noise


@contextmanager
def node_with(bucket: Path, folder: Path, config: NodeConfig = CONFIG) -> Iterator[LocalNode]:
    with LocalNode(Home(folder), config) as node:
        managing.set_bucket(node, url=f"file://{bucket}", report=ignore_progress)
        yield node


@pytest.fixture
def node(tmp_path: Path) -> Iterator[LocalNode]:
    with node_with(tmp_path / "bucket", tmp_path / "home") as opened:
        yield opened


def content(node: LocalNode, folder: Path, *seeds: int) -> Root:
    """A tree of a few files, in the node's store."""
    shutil.rmtree(folder, ignore_errors=True)
    for seed in seeds:
        (folder / str(seed)).parent.mkdir(parents=True, exist_ok=True)
        (folder / str(seed)).write_bytes(noise(seed, 20_000))
    return parse_link(adding.add(node, path=str(folder), report=ignore_progress).link)


def push(node: LocalNode, root: Root, name: str, unpin: str = "") -> Uploaded:
    return Uploader(node.edge, node.store, root, name, lambda state: [unpin] if unpin else []).run()


def collect(node: LocalNode, days: float = 0.0) -> Collector:
    """A collection so many days from now."""
    collector = Collector(node.edge, node.store, 86400.0, lambda: time.time() + 86400.0 * days)
    collector.run()
    return collector


def problems(node: LocalNode) -> list[str]:
    checker = Checker(node.edge, node.store, quick=False, tell=lambda done, total: None)
    node.edge.catalogue.forget()
    checker.run()
    return checker.problems()


def blobs(bucket: Path) -> set[str]:
    return {str(path.relative_to(bucket)) for path in (bucket / "blobs").rglob("*") if path.is_file()}


# Collecting


def test_what_nothing_needs_goes_in_two_steps(node: LocalNode, tmp_path: Path) -> None:
    push(node, content(node, tmp_path / "a", 1, 2, 3), "one")
    push(node, content(node, tmp_path / "a", 4, 5, 6), "two", unpin="one")
    before = blobs(tmp_path / "bucket")
    assert collect(node).dropped == 2, "a bundle and its index"
    assert blobs(tmp_path / "bucket") >= before, "nothing is deleted yet"
    assert len(collect(node, days=1.5).deleted) == 2
    assert len(blobs(tmp_path / "bucket")) == 2
    assert problems(node) == []
    assert collect(node, days=3).dropped == 0


def test_what_is_kept_twice_goes_with_the_last(node: LocalNode, tmp_path: Path) -> None:
    root = content(node, tmp_path / "a", 1, 2)
    push(node, root, "one")
    push(node, root, "two")
    assert collect(node, days=2).dropped == 0
    assert problems(node) == []


def test_a_bundle_of_which_little_is_needed_is_written_anew(node: LocalNode, tmp_path: Path) -> None:
    push(node, content(node, tmp_path / "a", *range(20)), "one")
    push(node, content(node, tmp_path / "a", 0, 1), "two", unpin="one")
    collected = collect(node)
    assert collected.rewritten == 1
    collect(node, days=1.5)
    assert sum((tmp_path / "bucket" / key).stat().st_size for key in blobs(tmp_path / "bucket")) < 100_000
    assert problems(node) == []


def test_many_small_pushes_become_few_objects(node: LocalNode, tmp_path: Path) -> None:
    for number in range(40):
        push(node, content(node, tmp_path / "a", number), f"pin {number}")
    assert len(node.edge.catalogue.state.indexes) == 40
    collect(node)
    collect(node, days=1.5)
    assert len(node.edge.catalogue.state.indexes) < 17
    assert len(node.edge.catalogue.state.bundles) == 1
    assert problems(node) == []


def test_what_a_cut_push_left_is_found_again_and_else_collected(node: LocalNode, tmp_path: Path) -> None:
    root = content(node, tmp_path / "a", *range(5))
    uploader = Uploader(node.edge, node.store, root, "one")
    uploader._upload(uploader._missing(node.edge.catalogue.state, _reached(node, root)))
    left = blobs(tmp_path / "bucket")
    assert len(left) == 1
    assert push(node, root, "one").bundles == 0, "what was uploaded is used"
    assert left < blobs(tmp_path / "bucket")
    assert problems(node) == []


def test_what_has_no_name_of_ours_is_left_alone(node: LocalNode, tmp_path: Path) -> None:
    """It would stand in the record of what is dropped, which nobody could read then."""
    root = content(node, tmp_path / "a", 1)
    push(node, root, "one")
    strange = [f"blobs/zz/{'é' * 62}", f"blobs/AB/{'C' * 62}", "blobs/ab/short", f"blobs/ab/{'cd' * 31}.part"]
    for key in strange:
        node.edge.bucket.put_if_absent(key, b"junk")
    assert collect(node, days=2).dropped == 0
    collect(node, days=4)
    node.edge.catalogue.forget()
    assert node.edge.catalogue.refresh().pins.keys() == {"one"}
    assert {key for key in strange if (tmp_path / "bucket" / key).exists()} == set(strange)


def _reached(node: LocalNode, root: Root) -> list[Hash]:
    from forge_p2p.content.walk import reach

    return list(dict.fromkeys(reach(root, node.store.read)))


def test_a_push_that_slept_uploads_again_what_was_collected(node: LocalNode, tmp_path: Path) -> None:
    slept: list[bool] = []

    class Sleeper(Uploader):
        def _step(self, state: State, needed: Sequence[Hash], index: list[IndexEntry]) -> CatalogueRecord | None:
            if not slept:
                slept.append(True)
                with node_with(tmp_path / "bucket", tmp_path / "other") as other:
                    assert collect(other, days=2).dropped == 2
                    assert len(collect(other, days=4).deleted) == 2
            return super()._step(state, needed, index)

    done = Sleeper(node.edge, node.store, content(node, tmp_path / "a", *range(5)), "one").run()
    assert slept
    assert done.bundles == 2
    assert problems(node) == []


# Fetching


class Peers:
    """The receiver's side of a fetch, and of its requests."""

    def __init__(self) -> None:
        self.ended_by = trio.Event()

    async def needed(self) -> None:
        """Everything is."""

    def ended(self, number: int, code: Code) -> None:
        assert code == Code.STORE
        self.ended_by.set()


async def test_a_bucket_whose_index_is_damaged_does_not_end_what_peers_do(tmp_path: Path) -> None:
    with node_with(tmp_path / "bucket", tmp_path / "home") as node:
        root = content(node, tmp_path / "a", 1, 2)
        push(node, root, "one")
        entry = next(iter(node.edge.catalogue.state.indexes.values()))
        damaged(tmp_path / "bucket", blob_key(entry.index.blob))
        edge = Edge(node.edge.record, EdgeConfig(node.edge.record.url), None)

        async def peers() -> None:
            raise NotFound("no peer has it")

        with pytest.raises(NotFound, match="no peer has it"):
            await EdgeFeed(edge, root, node.node_id, list).run(cast("Any", Peers()), peers)
        async with trio.open_nursery() as nursery:
            source = EdgeSource(edge, node.node_id, list, nursery)
            for number in range(FAILURES):
                sink = Peers()
                hashes = [root.link.hash]
                await source.request(number, hashes, False, cast("Any", sink), max_bytes=1 << 20, sparing=False)
                await sink.ended_by.wait()
            assert source.ended.is_set()


@pytest.mark.parametrize("harm", ["bundle", "index"])
async def test_what_has_gone_from_a_bucket_ends_a_fetch(tmp_path: Path, harm: str) -> None:
    """The catalogue says that it is there, however often it is read."""
    with node_with(tmp_path / "bucket", tmp_path / "home") as node:
        root = content(node, tmp_path / "a", 1, 2)
        push(node, root, "one")
        (entry,) = node.edge.catalogue.state.indexes.values()
    shutil.rmtree(tmp_path / "home" / "cache" / "edge")
    (tmp_path / "bucket" / blob_key((entry.bundles[0] if harm == "bundle" else entry.index).blob)).unlink()
    with node_with(tmp_path / "bucket", tmp_path / "other", HASTY) as node:
        async with open_network(node, serve=False) as network:
            with pytest.raises(NotFound if harm == "bundle" else BucketError), trio.fail_after(30):
                await pulling.pull(
                    network, what=format_link(root), destination=str(tmp_path / "there"), report=ignore_progress
                )


async def test_what_was_packed_anew_during_a_fetch_is_found_there(tmp_path: Path) -> None:
    with node_with(tmp_path / "bucket", tmp_path / "home") as node:
        push(node, content(node, tmp_path / "a", *range(20)), "one")
        kept = content(node, tmp_path / "a", 0, 1)
        push(node, kept, "two", unpin="one")
        with node_with(tmp_path / "bucket", tmp_path / "other") as other:
            other.edge.catalogue.locate([kept.link.hash])
            assert collect(node).rewritten == 1
            assert collect(node, days=1.5).deleted
            async with open_network(other, serve=False) as network:
                await pulling.pull(
                    network, what=format_link(kept), destination=str(tmp_path / "there"), report=ignore_progress
                )
    assert contents(tmp_path / "there") == contents(tmp_path / "a")


# Checking


def damaged(bucket: Path, key: str) -> None:
    data = bytearray((bucket / key).read_bytes())
    data[len(data) // 3] ^= 0xFF
    (bucket / key).write_bytes(data)


def check(node: LocalNode, *, repair: bool = False, quick: bool = False) -> EdgeCheck:
    return checking.check(node, repair=repair, quick=quick, report=ignore_progress)


@pytest.mark.parametrize(
    "harm", ["bundle gone", "bundle damaged", "bundle huge", "index gone", "index damaged", "index huge"]
)
def test_what_is_gone_or_damaged_is_found_and_put_right(node: LocalNode, tmp_path: Path, harm: str) -> None:
    bucket = tmp_path / "bucket"
    push(node, content(node, tmp_path / "a", 1, 2, 3), "one")
    push(node, content(node, tmp_path / "a", 1, 2, 3, 4), "two")
    entry = next(iter(node.edge.catalogue.state.indexes.values()))
    key = blob_key((entry.bundles[0] if "bundle" in harm else entry.index).blob)
    if "gone" in harm:
        (bucket / key).unlink()
    elif "huge" in harm:
        os.truncate(bucket / key, 1 << 40)
    else:
        damaged(bucket, key)
    shutil.rmtree(tmp_path / "home" / "cache" / "edge")
    found = check(node)
    assert any(problem.startswith(key) for problem in found.problems)
    assert found.unrepaired
    repaired = check(node, repair=True)
    assert repaired.unrepaired == 0
    assert repaired.repaired == len(found.problems)
    assert problems(node) == []


def test_a_record_of_a_bundle_that_cannot_be(tmp_path: Path) -> None:
    """Of less bytes than the end of one has; its index is not there, so that nothing else tells."""
    with LocalNode(Home(tmp_path / "home"), CONFIG) as node:
        managing.set_bucket(node, url=f"memory://{os.urandom(8).hex()}", report=ignore_progress)
        push(node, content(node, tmp_path / "a", 1), "one")
        catalogue = node.edge.catalogue
        entry = IndexEntry(BlobName("ab" * 32, 100), 1, [BlobName("cd" * 32, 3)])
        catalogue.commit(lambda state: catalogue.record(state, indexes=[entry]))
        assert check(node, repair=True).unrepaired == 0
        assert problems(node) == []


def test_what_is_not_here_cannot_be_put_right(node: LocalNode, tmp_path: Path) -> None:
    push(node, content(node, tmp_path / "a", 1, 2, 3), "one")
    (bundle,) = node.edge.catalogue.state.bundles
    (tmp_path / "bucket" / blob_key(bundle)).unlink()
    with node_with(tmp_path / "bucket", tmp_path / "other") as other:
        assert check(other, repair=True).unrepaired
        with pytest.raises(BucketError, match="nothing was collected"):
            collect(other)
    assert check(node, repair=True).unrepaired == 0
    assert problems(node) == []


def test_a_quick_check_sees_what_is_gone(node: LocalNode, tmp_path: Path) -> None:
    push(node, content(node, tmp_path / "a", 1, 2), "one")
    (bundle,) = node.edge.catalogue.state.bundles
    assert check(node, quick=True).problems == []
    (tmp_path / "bucket" / blob_key(bundle)).unlink()
    assert any("missing" in problem for problem in check(node, quick=True).problems)


# Addresses, credentials


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://example.com/x", "no kind of bucket"),
        ("s3://key:secret@bucket", "holds no credentials"),
        ("s3://bucket?X-Amz-Signature=abc", "holds no credentials"),
        ("s3:///bucket", "names no bucket"),
        ("file://host/folder", "names no folder"),
    ],
)
def test_addresses_that_are_none(tmp_path: Path, url: str, words: str) -> None:
    with LocalNode(Home(tmp_path / "home"), CONFIG) as node, pytest.raises(UsageError, match=words) as caught:
        managing.set_bucket(node, url=url, report=ignore_progress)
    assert "secret" not in str(caught.value)
    assert "abc" not in str(caught.value)


@pytest.mark.parametrize("identity", ["../" * 21 + "a", "/" + "a" * 63, "A" * 64, "a" * 64 + "\n", 7])
def test_a_bucket_whose_id_is_a_path(node: LocalNode, tmp_path: Path, identity: object) -> None:
    """What is known of a bucket is kept in a folder of that name."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "forge.json").write_bytes(msgspec.json.encode({"format": 1, "id": identity}))
    with pytest.raises(Malformed, match="is not Forge's"):
        managing.set_bucket(node, url=f"file://{tmp_path}/theirs", report=ignore_progress)


def test_credentials_that_others_may_read_are_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "edge.credentials").write_text('AWS_SECRET_ACCESS_KEY = "hush"\n')
    (home / "edge.credentials").chmod(0o644)
    result = forge(home, "edge", "set", f"file://{tmp_path}/bucket")
    assert result.returncode == 6
    assert "chmod 600" in result.stderr
    (home / "edge.credentials").chmod(0o600)
    assert forge(home, "edge", "set", f"file://{tmp_path}/bucket").returncode == 0
    (home / "edge.credentials").write_text("AWS_SECRET_ACCESS_KEY = hush\n")
    result = forge(home, "edge", "status")
    assert result.returncode == 2
    assert "hush" not in result.stderr


def test_an_unreachable_bucket_is_named(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "edge.json").write_text(
        '{"url": "s3://forge/x", "id": "%s", "endpoint": "http://127.0.0.1:9", "region": "auto"}' % ("0" * 64)
    )
    result = forge(home, "edge", "status")
    assert result.returncode == 14
    assert "s3://forge/x" in result.stderr
    assert SECRETS["AWS_SECRET_ACCESS_KEY"] not in result.stderr


SECRETS = {"AWS_ACCESS_KEY_ID": "an-id", "AWS_SECRET_ACCESS_KEY": "a-secret-that-shows-nowhere"}


def forge(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *arguments], env={**environment(home), **SECRETS}, capture_output=True, text=True, check=False
    )


# Two pushers and a collector, killed


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(2, 30))])
def test_kills_leave_nothing_missing(tmp_path: Path, seed: int) -> None:
    """Real processes push, drop and collect at once with no grace at all, and are killed at random moments. Whatever a
    record says is kept is there, whole."""
    chance = random.Random(seed)
    bucket = tmp_path / "bucket"
    homes = [tmp_path / f"home{number}" for number in range(2)]
    links: dict[Path, list[str]] = {}
    for home in homes:
        with node_with(bucket, home) as node:
            links[home] = [str(content_link(node, tmp_path / "a", home, number)) for number in range(4)]
    known: dict[str, str] = {}
    deadline = time.monotonic() + 10.0

    def run(home: Path, commands: list[list[str]]) -> None:
        own = random.Random(chance.random())
        while time.monotonic() < deadline:
            command = own.choice(commands)
            process = subprocess.Popen(
                [*COMMAND, *command], env=environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            try:
                process.wait(own.choice([0.5, 0.8, 1.2, 2.0, 30.0]))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            known[command[2]] = command[1] if process.returncode == 0 else "unknown"

    def commands(home: Path) -> list[list[str]]:
        return [["edge", verb, link] for link in links[home] for verb in ("push", "push", "drop")]

    threads = [
        threading.Thread(target=run, args=(homes[0], commands(homes[0]))),
        threading.Thread(target=run, args=(homes[1], commands(homes[1]))),
        threading.Thread(target=run, args=(homes[0], [["edge", "gc", "--grace=0"]])),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with node_with(bucket, tmp_path / "judge") as node:
        pins = set(status(node).pins)
        assert {link for link, verb in known.items() if verb == "push"} <= pins
        assert pins.isdisjoint(link for link, verb in known.items() if verb == "drop")
        assert problems(node) == []
        collect(node, days=2)
        collect(node, days=4)
        assert problems(node) == []


def content_link(node: LocalNode, folder: Path, home: Path, number: int) -> str:
    seeds = [number * 3 + offset for offset in range(8)] + [1000 + len(str(home)) + number]
    return format_link(content(node, folder, *seeds))


def status(node: LocalNode) -> EdgeStatus:
    return managing.status(node, report=ignore_progress)


def test_results_survive_the_control_socket(node: LocalNode) -> None:
    found = status(node)
    assert msgspec.json.decode(msgspec.json.encode(found), type=EdgeStatus) == found


def test_a_folder_that_is_read_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with LocalNode(Home(tmp_path / "home"), CONFIG) as node, pytest.raises((BucketError, BucketRefused)) as caught:
        managing.set_bucket(node, url=f"file://{tmp_path}/file", report=ignore_progress)
    assert f"file://{tmp_path}/file" in str(caught.value)
