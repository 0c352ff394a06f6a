"""Disks that are full, read-only or failing: a clear message, nothing half done, and the same command works later."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from forge_p2p.config import NodeConfig, StoreConfig
from forge_p2p.errors import DiskError, ForgeError
from forge_p2p.node import inprocess
from forge_p2p.node.home import Home
from tests.cli.harness import COMMAND, environment, forge
from tests.node.harness import (
    Node,
    contents,
    getting_json,
    node,
    noise,
    partials,
    refused,
    settings,
    small_tree,
    strace,
)
from tests.workspace.unprivileged import run_unprivileged

MB = 1_000_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a file system of a given size, or changes it: `("1m")`, then `("remount,size=64m")`."""
    path = tmp_path / "disk"
    path.mkdir()

    def mount(options: str) -> Path:
        how = options if "remount" in options else f"size={options}"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", how, "none", str(path)], check=False, capture_output=True, text=True
        )
        if done.returncode:
            pytest.fail(f"mount: {done.stderr.strip()}; run the tests as root, in a container perhaps")
        return path

    yield mount
    subprocess.run(["umount", "-l", str(path)], check=False, capture_output=True)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = small_tree(tmp_path_factory.mktemp("source") / "tree")
    (root / "bulk").write_bytes(noise(1, 6 * MB))
    return root


@pytest.fixture(scope="module")
def sharing(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Iterator[Node]:
    with node(tmp_path_factory.mktemp("sharing") / "home", "share", str(source)) as started:
        yield started


def no_room(said: str, where: Path) -> int:
    """The bytes that a message about a full disk says are needed; it has to name something below `where`."""
    assert str(where) in said, said
    needed = re.search(r"(\d+) bytes", said)
    assert needed, said
    return int(needed[1])


def sound(home: Path) -> bool:
    told = json.loads(forge(home, "store", "verify", "--json").stdout)
    return not told["corrupt"]


def test_no_room_for_the_store(tmp_path: Path, small_disk: Callable[[str], Path], sharing: Node, source: Path) -> None:
    home, copy = settings(small_disk("4m") / "home"), tmp_path / "copy"
    assert no_room(refused(forge(home, "get", sharing.ticket, str(copy)), 8), home)
    assert not copy.exists()
    assert sound(home)
    small_disk("remount,size=64m")
    result = getting_json(forge(home, "get", sharing.ticket, str(copy), "--json"))
    assert contents(copy) == contents(source)
    assert partials(copy) == []
    assert result.fetched_bytes < 6 * MB, "what had arrived was kept"


def test_no_room_for_anything(tmp_path: Path, small_disk: Callable[[str], Path], sharing: Node, source: Path) -> None:
    home, copy = small_disk("8k") / "home", tmp_path / "copy"
    refused(forge(home, "get", sharing.ticket, str(copy)), 8)
    assert not copy.exists()
    small_disk("remount,size=64m")
    getting_json(forge(settings(home), "get", sharing.ticket, str(copy), "--json"))
    assert contents(copy) == contents(source)


def test_no_room_at_the_destination(
    tmp_path: Path, small_disk: Callable[[str], Path], sharing: Node, source: Path
) -> None:
    home, copy = settings(tmp_path / "home"), small_disk("1m") / "copy"
    said = refused(forge(home, "get", sharing.ticket, str(copy)), 8)
    assert no_room(said, copy) > 6 * MB
    assert not copy.exists()
    small_disk("remount,size=64m")
    getting_json(forge(home, "get", sharing.ticket, str(copy), "--json"))
    assert contents(copy) == contents(source)
    assert partials(copy) == []


def test_no_room_to_complete_a_destination(
    tmp_path: Path, small_disk: Callable[[str], Path], sharing: Node, source: Path
) -> None:
    home, copy = settings(tmp_path / "home"), small_disk("1m") / "copy"
    copy.mkdir()
    (copy / "own").write_bytes(b"the user's")
    before = contents(copy)
    no_room(refused(forge(home, "get", sharing.ticket, str(copy)), 8), copy)
    assert contents(copy) == before


def test_no_room_to_share(tmp_path: Path, small_disk: Callable[[str], Path], source: Path) -> None:
    home = settings(small_disk("2m") / "home")
    assert no_room(refused(forge(home, "add", str(source)), 8), home)
    assert no_room(refused(forge(home, "share", str(source)), 8), home)
    assert sound(home)
    assert json.loads(forge(home, "store", "stat", "--json").stdout)["pins"] == []
    small_disk("remount,size=64m")
    link = forge(home, "add", str(source)).stdout.strip()
    assert forge(home, "get", link, str(tmp_path / "copy")).returncode == 0
    assert contents(tmp_path / "copy") == contents(source)


def test_quota(tmp_path: Path) -> None:
    home, copy = tmp_path / "home", tmp_path / "copy"
    (tmp_path / "source").write_bytes(noise(2, 40 * MB))
    with node(tmp_path / "here", "share", str(tmp_path / "source")) as sharing:
        settings(home, '[store]\nreserve = 0\nquota = "10MB"\n')
        said = refused(forge(home, "get", sharing.ticket, str(copy)), 8)
        assert "quota of 10000000 bytes" in said
        assert not copy.exists()
        settings(home, '[store]\nreserve = 0\nquota = "100MB"\n')
        getting_json(forge(home, "get", sharing.ticket, str(copy), "--json"))
    assert copy.read_bytes() == noise(2, 40 * MB)


def test_read_only_destination(tmp_path: Path, small_disk: Callable[[str], Path], sharing: Node, source: Path) -> None:
    home, copy = settings(tmp_path / "home"), small_disk("64m") / "copy"
    small_disk("remount,ro")
    said = refused(forge(home, "get", sharing.ticket, str(copy)), 7)
    assert str(copy.parent) in said
    assert "ead-only" in said
    small_disk("remount,rw")
    getting_json(forge(home, "get", sharing.ticket, str(copy), "--json"))
    assert contents(copy) == contents(source)


def test_read_only_home(tmp_path: Path, small_disk: Callable[[str], Path], source: Path) -> None:
    """What only reads still works; what writes says why it cannot."""
    home = settings(small_disk("64m") / "home")
    link = forge(home, "add", str(source)).stdout.strip()
    small_disk("remount,ro")
    said = refused(forge(home, "add", str(small_tree(tmp_path / "other"))), 7)
    assert str(home) in said
    refused(forge(home, "up"), 7)
    small_disk("remount,rw")
    assert forge(home, "ls", link).returncode == 0


# A failing device


def injected(home: Path, faults: str, *arguments: str, path: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """A command, some of whose system calls fail: `faults` as `strace -e inject=` takes them."""
    calls = faults.partition(":")[0]
    only = ["-P", str(path)] if path else []
    return subprocess.run(
        [*strace(*only, "-e", f"trace={calls}", "-e", f"inject={faults}"), *COMMAND, *arguments],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "faults",
    [
        "pwritev,pwritev2:error=EIO:when=2+",
        "pwritev,pwritev2:error=ENOSPC:when=5+",
        "fdatasync:error=EIO",
        "fsync,renameat:error=EIO",
    ],
)
def test_device_that_fails_a_get(tmp_path: Path, sharing: Node, source: Path, faults: str) -> None:
    home, copy = settings(tmp_path / "home"), tmp_path / "copy"
    result = injected(home, faults, "get", sharing.ticket, str(copy))
    said = refused(result, 8 if "ENOSPC" in faults else 7)
    assert str(tmp_path) in said
    assert not copy.exists()
    assert sound(home)
    getting_json(forge(home, "get", sharing.ticket, str(copy), "--json"))
    assert contents(copy) == contents(source)
    assert partials(copy) == []


@pytest.mark.parametrize(
    "faults", ["pwritev,pwritev2:error=EIO", "pwritev,pwritev2:error=ENOSPC", "fdatasync:error=EIO"]
)
def test_device_that_fails_an_add(tmp_path: Path, source: Path, faults: str) -> None:
    home = settings(tmp_path / "home")
    said = refused(injected(home, faults, "add", str(source)), 8 if "ENOSPC" in faults else 7)
    assert str(home) in said
    assert sound(home)
    link = forge(home, "add", str(source)).stdout.strip()
    assert forge(home, "get", link, str(tmp_path / "copy")).returncode == 0
    assert contents(tmp_path / "copy") == contents(source)


@pytest.mark.parametrize("name", ["bulk", "d1/f001"])
def test_source_that_cannot_be_read(tmp_path: Path, source: Path, name: str) -> None:
    home = settings(tmp_path / "home")
    faults = "read,preadv,preadv2,pread64:error=EIO"
    said = refused(injected(home, faults, "add", str(source), path=source / name), 7)
    assert str(source / name) in said
    assert json.loads(forge(home, "store", "stat", "--json").stdout)["pins"] == []
    assert forge(home, "add", str(source)).returncode == 0


# As a user whom permissions hold for


def run(home: Path, name: str, **arguments: object) -> Any:
    """An operation in this process."""
    return inprocess.run(Home(home), NodeConfig(store=StoreConfig(reserve=0)), name, arguments)


@pytest.fixture
def loaded(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Everything that operations import, for who may not read where it is installed."""
    folder = tmp_path_factory.mktemp("loaded")
    (folder / "source").mkdir()
    (folder / "source" / "file").write_bytes(b"content")
    (folder / "source" / ".forgeignore").write_text("nothing\n")
    link = run(folder / "home", "add", path=str(folder / "source")).link
    run(folder / "home", "get", what=link, destination=str(folder / "copy"))


@pytest.mark.usefixtures("loaded")
def test_file_that_may_not_be_read(tmp_path: Path) -> None:
    source = small_tree(tmp_path / "source")
    secret = source / "d1" / "f001"
    secret.chmod(0o000)

    def work() -> None:
        with pytest.raises(DiskError) as caught:
            run(tmp_path / "home", "add", path=str(source))
        assert type(caught.value) is DiskError
        assert caught.value.message == f"{secret} cannot be read: Permission denied"
        assert ".forgeignore" in caught.value.hint
        (source / ".forgeignore").write_text("f001\n")
        assert run(tmp_path / "home", "add", path=str(source)).files == 21

    run_unprivileged(work, tmp_path, secret)


@pytest.mark.usefixtures("loaded")
def test_folder_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()

    def work() -> None:
        source = small_tree(tmp_path / "source")
        link = run(tmp_path / "home", "add", path=str(source)).link
        with pytest.raises(DiskError) as caught:
            run(tmp_path / "home", "get", what=link, destination=str(tmp_path / "foreign" / "copy"))
        assert str(tmp_path / "foreign") in caught.value.message
        with pytest.raises(ForgeError, match="foreign"):
            run(tmp_path / "foreign" / "home", "add", path=str(source))

    run_unprivileged(work, tmp_path, tmp_path / "foreign")
