"""`forge sync` as a command: what it prints, how it ends, with and without a node that is up."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.harness import COMMAND, environment, forge
from tests.node.harness import contents, node, refused, settings, small_tree


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = settings(tmp_path / "home")
    assert forge(made, "network", "create", "team").returncode == 0
    return made


class Watching:
    """A `forge sync --watch` under way."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        code = self.process.wait(timeout=20)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@contextmanager
def watching(home: Path, directory: Path, *arguments: str) -> Iterator[Watching]:
    words = [*COMMAND, "sync", "folder", str(directory), "--watch", *arguments]
    process = subprocess.Popen(
        words, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    watch = Watching(process)
    try:
        yield watch
    finally:
        process.kill()
        process.wait()


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not _calmly(holds):
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.05)


def _calmly(holds: Callable[[], bool]) -> bool:
    try:
        return holds()
    except FileNotFoundError:
        return False


def test_a_line_a_change(home: Path, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "d").mkdir(parents=True)
    (here / "d" / "file").write_text("one")
    first = forge(home, "sync", "folder", str(here))
    assert first.stdout.splitlines() == ["> d", "> d/file", "team/folder@1"]
    second = forge(home, "sync", "folder", str(there))
    assert second.stdout.splitlines() == ["< d", "< d/file", "team/folder@1"]
    (here / "d" / "file").write_text("two")
    (there / "d" / "file").write_text("three")
    forge(home, "sync", "folder", str(here))
    third = forge(home, "sync", "folder", str(there)).stdout.splitlines()
    assert third[-1] == "team/folder@3"
    assert len([line for line in third if line.startswith("! d/file: ")]) == 1
    (there / "d" / "file").unlink()
    assert forge(home, "sync", "folder", str(there)).stdout.splitlines() == ["> - d/file", "team/folder@4"]
    told = json.loads(forge(home, "sync", "folder", str(here), "--json").stdout)
    assert (told["received_removals"], told["published"], told["problems"]) == (["d/file"], False, [])


def test_exceptions_are_listed_and_said_by_the_exit_code(home: Path, tmp_path: Path) -> None:
    here, there = small_tree(tmp_path / "here"), tmp_path / "there"
    forge(home, "sync", "folder", str(here))
    (there / "d1").mkdir(parents=True)
    os.mkfifo(there / "d1" / "f001")
    done = forge(home, "sync", "folder", str(there))
    assert done.returncode == 1
    assert "problem: d1/f001: it cannot be written: something else is there" in done.stderr
    assert "1 entry of" in done.stderr
    assert (there / "d1" / "f005").exists()


def test_what_cannot_be_synced(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("file")
    refused(forge(home, "sync", "folder", str(tmp_path / "file"), "-q"), 2)
    refused(forge(home, "sync", "folder@3", str(tmp_path / "here"), "-q"), 2)
    lonely = settings(tmp_path / "lonely")
    with node(home, "up"):
        refused(forge(home, "sync", "folder", str(tmp_path / "file"), "--watch", "-q"), 2)
    refused(forge(lonely, "sync", "folder", str(tmp_path / "here"), "-q"), 2)


@pytest.mark.parametrize("is_up", [True, False])
def test_watching(home: Path, tmp_path: Path, is_up: bool) -> None:
    """In the node that is up, which tells one folder of the other; and in the command's own process."""
    here, there = small_tree(tmp_path / "here"), tmp_path / "there"
    forge(home, "sync", "folder", str(here))
    if is_up:
        with node(home, "up"):
            _follow_each_other(home, here, there)
    else:
        with watching(home, there) as watch:
            until(lambda: contents(here) == contents(there))
            (there / "edited").write_text("there")
            until(lambda: "> edited" in watch.lines)
            assert watch.end(signal.SIGINT) == 130
        forge(home, "sync", "folder", str(here))
        assert (here / "edited").read_text() == "there"


def _follow_each_other(home: Path, here: Path, there: Path) -> None:
    with watching(home, there) as other, watching(home, here, "--json") as one:
        until(lambda: bool(one.lines) and contents(here) == contents(there))
        (here / "new").write_text("here")
        until(lambda: "< new" in other.lines)
        (there / "new").write_text("there")
        until(lambda: (here / "new").read_text() == "there")
        second = forge(home, "sync", "folder", str(here))
        assert second.returncode == 2
        assert "another forge sync of this directory with 'folder' is running" in second.stderr
        assert one.end(signal.SIGINT) == 130
        assert json.loads(one.lines[-1])["received"] == ["new"]
        assert other.end(signal.SIGTERM) in {130, 143, -15}


def test_a_name_of_one_file_is_none_of_a_folder(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "folder").mkdir()
    assert forge(home, "publish", "one", str(tmp_path / "file")).returncode == 0
    failed = forge(home, "sync", "one", str(tmp_path / "folder"))
    assert failed.returncode == 2
    assert "'one' stands for no directory" in failed.stderr
    assert list((tmp_path / "folder").iterdir()) == []
