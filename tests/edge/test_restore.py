"""A seed that has lost everything, made again from its bucket, with nobody else awake."""

import json
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from forge_p2p.bucket.base import step_key
from forge_p2p.content.catalogue import PinEntry
from forge_p2p.content.link import hash_bytes
from forge_p2p.content.linktext import parse_link
from forge_p2p.content.ref import decode_record
from forge_p2p.content.walk import reach
from forge_p2p.ids import NetworkId, NodeId
from forge_p2p.node.home import Home
from forge_p2p.node.local import LocalNode
from forge_p2p.node.refs.retention import RETAINED
from forge_p2p.store.factory import open_store
from tests.cli.harness import COMMAND, forge
from tests.edge.conftest import said
from tests.edge.harness import edge_environment
from tests.edge.test_seed import children, seed
from tests.node.harness import CONFIG, node, noise
from tests.node.members_up import homes, until

Report = dict[str, object]


def publish(origin: Path, folder: Path, name: str, number: int) -> None:
    """One more version of a name: some files of many chunks, and one that says which it is."""
    files = folder / name
    files.mkdir(parents=True, exist_ok=True)
    (files / "version.txt").write_text(f"{name} {number}")
    for part in range(3):
        content = noise(hash_bytes(f"{name} {number} {part}".encode())[0], 400_000)
        (files / f"part{part}").write_bytes(content)
    said(origin, "publish", name, str(files))


def written(folder: Path, more: str = "", home: str = "seed") -> Path:
    """A seed's file. Its token has to be beside it."""
    file = folder / f"{home}.toml"
    file.write_text(
        f'home = "{folder}/{home}"\nlisten = "127.0.0.1:0"\n[net]\nlan = false\n[store]\nreserve = 0\n'
        f'[[network]]\ntoken_file = "{folder}/team.token"\n'
        f'[bucket]\nurl = "file://{folder}/bucket"\nevery = 0.5\n{more}'
    )
    return file


FOLLOWED = """[[follow]]
name = "team/site"
mirror = true
[[follow]]
name = "team/docs/en"
mirror = true
"""

GATEWAY = """[gateway]
listen = "127.0.0.1:0"
public = ["team/site"]
"""


def invite(origin: Path, folder: Path) -> None:
    token = folder / "team.token"
    token.touch(0o600)
    token.write_text(said(origin, "network", "invite", "--role", "seed") + "\n")


def restored(file: Path, code: int = 0) -> Report:
    """What `forge seed restore` says."""
    done = forge(file.parent / "nobody", "seed", "restore", str(file), "--json")
    assert done.returncode == code, done.stdout + done.stderr
    found: Report = json.loads(done.stdout)
    return found


@contextmanager
def opened(home: Path) -> Iterator[LocalNode]:
    with LocalNode(Home(home), CONFIG) as local:
        yield local


def logs(home: Path, network: NetworkId, names: Sequence[str]) -> dict[str, list[bytes]]:
    """The bytes of every record that a node has."""
    with opened(home) as local:
        return {name: [each.encode() for each in local.refs.range(network, name, 1, 1000)] for name in names}


def pinned(home: Path) -> dict[str, str]:
    """What is kept in the bucket: links by their pins."""
    with opened(home) as local:
        return {name: pin.root for name, pin in local.edge.catalogue.refresh().pins.items()}


def content(home: Path, link: str) -> list[bytes]:
    """Every chunk that a link reaches, as a node has it."""
    with opened(home) as local:
        return [local.store.read(chunk) for chunk in reach(parse_link(link), local.store.read)]


def mirrored(bucket: Path) -> list[Path]:
    return sorted(path for path in (bucket / "mirrors").rglob("*") if path.is_file())


def test_a_seed_comes_back_bit_for_bit(tmp_path: Path) -> None:
    (origin,) = homes(tmp_path, "origin")
    home, bucket = tmp_path / "seed", tmp_path / "bucket"
    file = written(tmp_path, FOLLOWED + GATEWAY)
    with node(origin, "up"):
        invite(origin, tmp_path)
        publish(origin, tmp_path, "site", 1)
        publish(origin, tmp_path, "docs/en", 1)
        with seed(file, tmp_path) as running:
            until(lambda: len(mirrored(bucket)) == 2, "the first records are mirrored")
            publish(origin, tmp_path, "site", 2)
            publish(origin, tmp_path, "site", 3)
            publish(origin, tmp_path, "docs/en", 2)
            until(lambda: len(mirrored(bucket)) == 5, "every record is mirrored")
            orphans = list(children(running).values())
            running.process.kill()
            until(lambda: not any(each.is_running() and each.status() != "zombie" for each in orphans), "none is left")
    network = NetworkId(bytes.fromhex(mirrored(bucket)[0].parts[-3]))
    before = logs(home, network, ("site", "docs/en"))
    assert [len(each) for each in before.values()] == [3, 2]
    assert before == logs(origin, network, ("site", "docs/en"))
    pins = pinned(home)
    kept = {pin: content(origin, link) for pin, link in pins.items()}
    assert {f"{network.hex()}/{name}" for name in ("site/1", "site/3", "docs/en/1", "docs/en/2")} <= pins.keys()
    assert not (bucket / "refs").exists(), "the bucket has become nobody's home"
    shutil.rmtree(home)

    foreign = harm(bucket, network)
    report = restored(file)
    assert report["problems"] == []
    assert sorted(str(each).partition(":")[0] for each in list_of(report, "refused")) == sorted(foreign)
    assert (report["pins"], report["skipped"]) == (len(pins), 0)
    assert logs(home, network, ("site", "docs/en")) == before
    assert {pin: content(home, link) for pin, link in pins.items()} == kept
    with opened(home) as local:
        held = {each.name.partition("~")[0] for each in local.store.pins()}
    assert {f"ref/{network.hex()[:16]}/{pin.partition('/')[2]}" for pin in pins} <= held

    again = restored(file)
    assert (again["fetched_bytes"], again["pins"], again["problems"]) == (0, len(pins), [])
    assert not any(each["new"] for each in list_of(again, "names"))
    with seed(file, tmp_path) as running:
        until(lambda: running.ask("/refs/team/site/version.txt").body == b"site 3", "it serves, and nobody else is up")


def list_of(report: Report, key: str) -> list[dict[str, object]]:
    found = report[key]
    assert isinstance(found, list)
    return found


def harm(bucket: Path, network: NetworkId) -> list[str]:
    """Objects that nobody with the right has written, beside the right ones; their keys."""
    site = bucket / "mirrors" / network.hex() / "site"
    third = decode_record(next(each for each in site.iterdir() if "3-" in each.name).read_bytes())
    first = decode_record(next(each for each in site.iterdir() if "1-" in each.name).read_bytes())
    forged = {
        third: replace(third, target=first.target).encode(),
        first: replace(first, home=NodeId(network)).encode(),
    }
    keys = {f"mirrors/{network.hex()}/site/{each.seq:016d}-{'0' * 64}": data for each, data in forged.items()}
    keys[step_key(f"refs/{network.hex()}/site/", 4)] = noise(1, 500)
    keys[f"mirrors/{network.hex()}/docs=2Fen/huge"] = bytes(1 << 20)
    keys[f"mirrors/{network.hex()}/other/{third.seq:016d}-{third.hash.hex()}"] = third.encode()
    for key, data in keys.items():
        (bucket / key).parent.mkdir(parents=True, exist_ok=True)
        (bucket / key).write_bytes(data)
    return list(keys)


def test_as_many_versions_come_back_as_the_file_says(tmp_path: Path) -> None:
    """And stay, through restores and restarts, until the file says another number."""
    (origin,) = homes(tmp_path, "origin")
    home, bucket, many = tmp_path / "seed", tmp_path / "bucket", RETAINED + 2

    def file(keep: int) -> Path:
        return written(tmp_path, f'[[follow]]\nname = "team/site"\nmirror = true\nkeep = {keep}\n{GATEWAY}')

    with node(origin, "up"):
        invite(origin, tmp_path)
        with seed(file(many), tmp_path):
            for number in range(1, many + 1):
                publish(origin, tmp_path, "site", number)
                until(lambda number=number: len(mirrored(bucket)) == number, "it is mirrored")  # type: ignore[misc]
        versions = {f"site/{number}" for number in range(1, many + 1)}
        assert short(pinned(home)) == versions
        shutil.rmtree(home)
        report = restored(file(many))
        assert (report["pins"], report["problems"]) == (many, [])
        with seed(file(many), tmp_path) as running:
            until(lambda: running.ask("/refs/team/site@1/version.txt").body == b"site 1", "the oldest is served")
        assert short(kept_here(home)) == versions
        with seed(file(1), tmp_path):
            until(lambda: short(kept_here(home)) == {f"site/{many}"}, "what is too old is let go")
            publish(origin, tmp_path, "site", many + 1)
            until(lambda: len(mirrored(bucket)) == many + 1, "it is mirrored")
        assert short(pinned(home)) == {f"site/{many + 1}"}


def kept_here(home: Path) -> list[str]:
    """The pins of records in a node's store."""
    with closing(open_store(Home(home).store, CONFIG.store)) as store:
        return [each.name.partition("~")[0] for each in store.pins() if each.name.startswith("ref/")]


def short(pins: Iterable[str]) -> set[str]:
    """Names of pins without their networks."""
    return {"/".join(each.split("/")[-2:]) for each in pins}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a node that has pushed two names, and has gone; its bucket; a token. Made once: it takes seconds."""
    folder = tmp_path_factory.mktemp("pushed") / "live"
    folder.mkdir()
    (origin,) = homes(folder, "origin")
    with node(origin, "up"):
        invite(origin, folder)
    said(origin, "edge", "set", f"file://{folder}/bucket")
    for name in ("site", "docs/en"):
        publish(origin, folder, name, 1)
        said(origin, "edge", "push", f"team/{name}", "--records")
    return folder.rename(folder.with_name("made"))


@pytest.fixture
def pushed(made: Path) -> Path:
    """The home of the node in a fresh copy of `made`, where that was made: what is in it names its place."""
    folder = made.with_name("live")
    shutil.rmtree(folder, ignore_errors=True)
    return Path(shutil.copytree(made, folder, ignore=shutil.ignore_patterns("*.sock"))) / "origin"


def blobs(bucket: Path) -> list[Path]:
    return sorted(
        (path for path in (bucket / "blobs").rglob("*") if path.is_file()), key=lambda path: -path.stat().st_size
    )


def test_what_the_bucket_has_lost_is_named_and_holds_up_nothing_else(pushed: Path) -> None:
    bundle = blobs(pushed.parent / "bucket")[0]
    bundle.unlink()
    file = written(pushed.parent)
    report = restored(file, 14)
    key = str(bundle.relative_to(pushed.parent / "bucket"))
    lost = [str(each) for each in list_of(report, "problems")]
    assert len(lost) == 2, lost
    assert f"{key}: missing" in lost
    assert report["pins"] == 1
    assert [each["seq"] for each in list_of(report, "names")] == [1, 1]
    assert json.loads(forge(pushed, "edge", "check", "--repair", "--json").stdout)["unrepaired"] == 0
    report = restored(file)
    assert (report["pins"], report["problems"]) == (2, [])


def test_pins_that_somebody_else_has_written(pushed: Path) -> None:
    with opened(pushed) as local:
        catalogue = local.edge.catalogue
        right = next(iter(catalogue.refresh().pins.values()))
        folder, root = right.name.rpartition("/")[0], right.root
        other = next(pin.root for pin in catalogue.state.pins.values() if pin.root != root)
        pins = {
            right.name: other,
            f"{folder}/{10**40}": root,
            f"{folder}/../x/1": root,
            f"{'0' * 64}/site/1": root,
            "nonsense": root,
            "link": "nonsense",
        }
        entries = [PinEntry(name, link, 0.0) for name, link in pins.items()]
        catalogue.commit(lambda state: catalogue.record(state, pins=[*entries]))
    report = restored(written(pushed.parent))
    refused = [str(each) for each in list_of(report, "refused")]
    assert len(refused) == 5, refused
    assert all(each.isprintable() for each in refused)
    assert f"{right.name}: keeps something else than the record says, which counts" in refused
    assert (report["pins"], report["skipped"], report["problems"]) == (2, 1, [])
    assert content(pushed.parent / "seed", root) == content(pushed, root)


def test_a_pin_without_its_record_is_told(pushed: Path) -> None:
    publish(pushed, pushed.parent, "site", 2)
    said(pushed, "edge", "push", "team/site")
    (problem,) = list_of(restored(written(pushed.parent), 14), "problems")
    assert "/site/2: record 2 is not in the bucket" in str(problem)
    assert json.loads(said(pushed, "edge", "push", "team/site", "--records", "--json"))["records"] == 1
    assert json.loads(said(pushed, "edge", "push", "team/site", "--records", "--json"))["records"] == 0
    assert restored(written(pushed.parent))["problems"] == []


def test_killed_at_any_moment_it_goes_on(pushed: Path) -> None:
    file = written(pushed.parent)
    for name in ("restored.json", "edge.json", "refs.lmdb", "store"):
        kill_restore(file, pushed.parent / "seed" / name)
    report = restored(file)
    assert (report["pins"], report["problems"]) == (2, [])
    pins = pinned(pushed)
    assert {pin: content(pushed.parent / "seed", link) for pin, link in pins.items()} == {
        pin: content(pushed, link) for pin, link in pins.items()
    }


def kill_restore(file: Path, mark: Path) -> None:
    """Begins a restore and kills it as soon as there is `mark`."""
    words = [*COMMAND, "seed", "restore", str(file)]
    with subprocess.Popen(words, env=edge_environment(file.parent / "nobody"), stderr=subprocess.DEVNULL) as process:
        until(lambda: mark.exists() or process.poll() is not None, f"{mark.name} is there")
        process.send_signal(signal.SIGKILL)


def test_only_an_empty_home_is_restored_to(pushed: Path) -> None:
    file = written(pushed.parent, home="origin")
    done = forge(pushed.parent, "seed", "restore", str(file))
    assert (done.returncode, done.stdout) == (6, "")
    assert "home of a node that has content" in done.stderr
    restored(written(pushed.parent))
    elsewhere = pushed.parent / "elsewhere.toml"
    elsewhere.write_text(written(pushed.parent).read_text().replace("/bucket", "/bucket2"))
    done = forge(pushed.parent, "seed", "restore", str(elsewhere))
    assert (done.returncode, done.stdout) == (6, "")
    assert "is being restored from" in done.stderr


def test_a_bucket_that_is_not_the_one_and_a_name_that_is_not_there(pushed: Path) -> None:
    file = written(pushed.parent, home="wrong")
    file.write_text(file.read_text().replace("/bucket", "/bukcet"))
    done = forge(pushed.parent, "seed", "restore", str(file))
    assert (done.returncode, done.stdout) == (4, "")
    assert "nothing was ever kept in" in done.stderr
    follow = '[[follow]]\nname = "team/other"\nmirror = true\n'
    report = restored(written(pushed.parent, follow), 14)
    assert [str(each).partition(":")[0] for each in list_of(report, "problems")] == ["team/other"]
    assert report["pins"] == 2


def test_with_its_key_put_back_it_is_who_it_was(pushed: Path) -> None:
    with opened(pushed.parent / "seed") as lost:
        node_id = lost.node_id.hex()
    key = (pushed.parent / "seed" / "node.key").read_bytes()
    shutil.rmtree(pushed.parent / "seed")
    (pushed.parent / "seed").mkdir()
    (pushed.parent / "seed" / "node.key").write_bytes(key)
    (pushed.parent / "seed" / "node.key").chmod(0o600)
    assert restored(written(pushed.parent))["node_id"] == node_id
