"""A watched directory is answered for as a scan would, whatever happens in it, and scanned where that is not sure."""

import mmap
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import forge_p2p.workspace.walking
from forge_p2p.workspace import watch, watched
from forge_p2p.workspace.scan import Scan, scan
from forge_p2p.workspace.statcache import StatCache
from forge_p2p.workspace.watched import WatchedFolders
from tests.workspace.support import contents_of, link_of_bytes, mounted, snapshot_of

LONG_AGO = 10**18 + 7
QUEUE = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
SEEDS = range(16)


class Eye:
    """A directory, what watches it, and how often it was listed as a whole."""

    def __init__(self, place: Path) -> None:
        self.top = place / "top"
        self.top.mkdir()
        self.cache = StatCache(place / "cache")
        self.told: list[str] = []
        self.folders = WatchedFolders(self.told.append)
        self.entered: list[bytes] = []

    def look(self, *, patient: bool = False) -> Scan:
        """What the watch says, which has to be what a scan finds."""
        self.entered.clear()
        found = self.folders.scan(os.fsencode(self.top), self.cache, patient=patient)
        entered = list(self.entered)
        plain = scan(os.fsencode(self.top), self.cache, patient=patient)
        self.entered[:] = entered
        assert found.items == plain.items
        assert found.skipped == plain.skipped
        assert found.known_root == plain.known_root
        return found

    def remember(self) -> None:
        """Everything is read, and what it is written into the stat cache, as old as anything."""
        made = snapshot_of(self.top, self.cache)
        found = scan(os.fsencode(self.top), self.cache)
        links = {path: link_of_bytes(content) for path, content in contents_of(found).items()}
        self.cache.save(found.root, found.resolved(links), made.root)

    def write(self, name: str, content: str = "content") -> Path:
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path


@pytest.fixture
def eye(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Eye]:
    made = Eye(tmp_path)
    whole = forge_p2p.workspace.walking.Walk.directory

    def directory(self: forge_p2p.workspace.walking.Walk, descriptor: int, prefix: bytes, *rest: object) -> None:
        made.entered.append(prefix)
        whole(self, descriptor, prefix, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(forge_p2p.workspace.walking.Walk, "directory", directory)
    yield made
    made.folders.close()


def test_what_did_not_change_is_not_looked_at(eye: Eye) -> None:
    eye.write("a/b/file")
    eye.remember()
    eye.look()
    assert eye.entered == [b"", b"a/", b"a/b/"]
    assert eye.look().known_root is not None
    assert eye.entered == []


def test_an_edit_is_seen_at_once_and_alone(eye: Eye) -> None:
    for number in range(100):
        eye.write(f"a/b/file{number}")
    eye.look()
    eye.remember()
    for number in range(50):
        eye.write(f"a/b/file{number}", f"edited {number}")
        assert eye.look().known_root is None
        assert eye.entered == []


class Editor:
    """Does anything that can be done to a directory."""

    def __init__(self, top: Path, chance: random.Random) -> None:
        self.top = top
        self.chance = chance

    def step(self) -> None:
        often = (self.write, self.write, self.write, self.append, self.remove, self.move, self.move)
        rarely = (self.mode, self.link, self.time, self.ignore, self.replace, self.pipe, self.hard_link)
        self.chance.choice((*often, *rarely))()

    def any_path(self) -> Path:
        return self.chance.choice(sorted(self.top.rglob("*")) or [self.top / "first"])

    def new_path(self) -> Path:
        folder = self.chance.choice(
            [self.top, *sorted(p for p in self.top.rglob("*") if p.is_dir() and not p.is_symlink())]
        )
        return folder / self.chance.choice("abcdef")

    def write(self) -> None:
        path = self.new_path()
        if self.chance.random() < 0.4 and not os.path.lexists(path):
            path.mkdir()
            path /= "in it"
        if not path.is_dir() and not path.is_symlink() and not path.is_fifo():
            path.write_text("x" * self.chance.randrange(100))

    def append(self) -> None:
        path = self.any_path()
        if path.is_file() and not path.is_symlink():
            with path.open("a") as file:
                file.write("more")

    def remove(self) -> None:
        path = self.any_path()
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def move(self) -> None:
        source, target = self.any_path(), self.new_path()
        over = source.is_file() and target.is_file() and not target.is_symlink()
        if source.exists() and source not in (target, *target.parents) and (over or not os.path.lexists(target)):
            source.rename(target)

    def mode(self) -> None:
        path = self.any_path()
        if path.exists() and not path.is_symlink():
            path.chmod(self.chance.choice((0o755, 0o700, 0o775)))

    def link(self) -> None:
        path = self.new_path()
        if not os.path.lexists(path):
            path.symlink_to(self.chance.choice(("a", "../b", "nowhere")))

    def time(self) -> None:
        path = self.any_path()
        if path.exists() and not path.is_symlink():
            os.utime(path, ns=(LONG_AGO, LONG_AGO + self.chance.randrange(10)))

    def ignore(self) -> None:
        if self.chance.random() < 0.3:
            folder = self.new_path().parent
            (folder / ".forgeignore").write_text(self.chance.choice(("a\n", "b/\n", "/c\n", "!a\n*\n")))

    def replace(self) -> None:
        path = self.any_path()
        if path.is_dir() and not path.is_symlink():
            aside = self.top.parent / f"aside{self.chance.random()}"
            path.rename(aside)
            path.mkdir()
            (path / "other").write_text("other")
            if self.chance.random() < 0.5:
                (aside / "out of sight").write_text("told, and nothing of ours")

    def pipe(self) -> None:
        path = self.new_path()
        if not os.path.lexists(path):
            os.mkfifo(path)

    def hard_link(self) -> None:
        source, target = self.top.parent / f"linked{self.chance.randrange(3)}", self.new_path()
        source.write_text("x" * self.chance.randrange(100))
        if not os.path.lexists(target):
            os.link(source, target)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_is_done_the_answer_is_that_of_a_scan(eye: Eye, seed: int) -> None:
    chance = random.Random(seed)
    editor = Editor(eye.top, chance)
    for _ in range(25):
        for _ in range(chance.choice((0, 1, 1, 1, 2, 5, 20))):
            editor.step()
        if chance.random() < 0.2:
            eye.remember()
        if chance.random() < 0.1:
            eye.folders.attend(eye.cache)
        eye.look()
    assert not eye.told


def test_a_queue_that_ran_over_means_a_scan(eye: Eye) -> None:
    path = eye.write("a/file")
    eye.look()
    for number in range(QUEUE):  # equal events in a row are one to the kernel, so they take turns
        os.utime(path, ns=(LONG_AGO, LONG_AGO + number))
        os.utime(eye.top / "a", ns=(LONG_AGO, LONG_AGO + number))
    (eye.top / "late").write_text("nobody told")
    assert [item.path for item in eye.look().items] == [b"a", b"a/file", b"late"]
    assert eye.entered == [b"", b"a/"]
    eye.look()
    assert eye.entered == []


def test_a_mapped_file_is_told_when_it_is_closed(eye: Eye) -> None:
    path = eye.write("file", "mapped")
    eye.remember()
    eye.look()
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[:1] = b"M"
    assert eye.look().known_root is None


def test_a_file_with_other_names_is_looked_at_every_time(eye: Eye) -> None:
    path = eye.write("file")
    os.link(path, eye.top.parent / "elsewhere")
    eye.remember()
    eye.look()
    (eye.top.parent / "elsewhere").write_text("written by its other name")
    assert eye.look().known_root is None


def test_a_second_name_is_noticed(eye: Eye) -> None:
    eye.write("a/file")
    eye.write("b/other")
    eye.look()
    os.link(eye.top / "a/file", eye.top / "b/file")  # the file has another ctime, and its first directory is not told
    eye.look()
    (eye.top / "b/file").unlink()
    eye.look()


def test_too_many_such_files_are_not_watched(eye: Eye, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LINKED_MAX", 1)
    for name in "ab":
        os.link(eye.write(name), eye.top.parent / name)
    eye.look()
    assert "other names" in eye.told[0]


def test_another_directory_in_its_place_is_another(eye: Eye) -> None:
    eye.write("file")
    eye.look()
    eye.top.rename(eye.top.parent / "aside")
    eye.top.mkdir()
    assert eye.look().items == []
    shutil.rmtree(eye.top)
    (eye.top.parent / "aside").rename(eye.top)
    assert [item.path for item in eye.look().items] == [b"file"]


def test_few_are_watched(eye: Eye, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "FOLDERS_MAX", 2)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(5):
        top = tmp_path / f"top{number}"
        top.mkdir()
        eye.folders.scan(os.fsencode(top), eye.cache)
    assert len(os.listdir("/proc/self/fd")) == before + 2 * 2


def test_few_names_are_watched(eye: Eye, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "NAMES_MAX", 3)
    before = len(os.listdir("/proc/self/fd"))
    other = tmp_path / "other"
    other.mkdir()
    for top in (eye.top, other):
        for name in "ab":
            (top / name).touch()
        eye.folders.scan(os.fsencode(top), eye.cache)
    assert len(os.listdir("/proc/self/fd")) == before + 2
    assert eye.folders.is_watched(os.fsencode(other))
    for name in "cd":
        eye.write(name)
    eye.look()
    assert "more than 3 names" in eye.told[0]
    assert not eye.folders.is_watched(os.fsencode(eye.top))


def test_what_is_expected_is_looked_at_before_it_is_asked_for(eye: Eye) -> None:
    eye.write("file")
    eye.remember()
    eye.folders.expect(os.fsencode(eye.top))
    eye.folders.attend(eye.cache)
    assert eye.look().known_root is not None
    assert eye.entered == []


def test_what_changed_untold_ends_the_watch(eye: Eye, monkeypatch: pytest.MonkeyPatch) -> None:
    path = eye.write("file", "before")
    eye.look()
    os.link(path, eye.top.parent / "elsewhere")
    (eye.top.parent / "elsewhere").write_text("of this the directory is not told")
    eye.folders.renew(eye.cache)
    assert not eye.told  # not due yet
    monkeypatch.setattr(watched, "RESCAN", 0.0)
    eye.folders.renew(eye.cache)
    assert "file" in eye.told[0]
    eye.look()
    assert eye.entered == [b""]


def test_the_net_keeps_a_watch_that_was_right(eye: Eye, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "RESCAN", 0.0)
    path = eye.write("a/file")
    eye.look()
    path.write_text("told")
    eye.write("b/new")
    eye.folders.renew(eye.cache)
    assert not eye.told
    eye.look()
    assert eye.entered == []


def run_apart(script: str, *arguments: Path | str) -> str:
    """Runs the words of a shell, then this file's `looks`, in name spaces of their own."""
    words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", script, "sh", sys.executable, *arguments]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


LOOKS = """
import os, sys
from pathlib import Path
from forge_p2p.workspace.statcache import StatCache
from forge_p2p.workspace.watched import WatchedFolders
top = os.fsencode(sys.argv[1])
folders = WatchedFolders(print)
for line in sys.stdin:
    os.system(line)
    print(*[os.fsdecode(item.path) for item in folders.scan(top, StatCache(Path(sys.argv[2]))).items])
"""


def test_where_the_system_watches_no_more_it_is_said_and_scanned(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / "top" / f"d{number}").mkdir(parents=True)
    script = (
        f"echo 3 > /proc/sys/user/max_inotify_watches; printf ':\\nmkdir {tmp_path}/top/new\\n' | $1 -c '{LOOKS}' $2 $3"
    )
    told, first, second = run_apart(script, tmp_path / "top", tmp_path / "cache").splitlines()
    assert "max_user_watches" in told
    assert first == "d0 d1 d2 d3 d4"
    assert second == "d0 d1 d2 d3 d4 new"


def test_what_is_mounted_is_seen(tmp_path: Path) -> None:
    (tmp_path / "top" / "a").mkdir(parents=True)
    (tmp_path / "top" / "a" / "file").touch()
    steps = f":\\nmount -t tmpfs none {tmp_path}/top/a && touch {tmp_path}/top/a/other\\numount {tmp_path}/top/a\\n"
    output = run_apart(f"printf '{steps}' | $1 -c '{LOOKS}' $2 $3", tmp_path / "top", tmp_path / "cache").splitlines()
    assert [line for line in output if "looked at" not in line] == ["a a/file", "a a/other", "a a/file"]


def test_what_is_mounted_beside_it_is_no_reason_to_look(eye: Eye, tmp_path: Path) -> None:
    eye.write("a/file")
    eye.look()
    (tmp_path / "top beside").mkdir()
    with mounted(tmp_path / "top beside"):
        eye.write("a/file", "edited")
        eye.look()
        assert eye.entered == []
    eye.look()
    assert eye.entered == []


def test_a_file_system_that_others_change_is_not_watched(eye: Eye) -> None:
    eye.folders.scan(b"/proc/self/fdinfo", eye.cache, patient=True)
    assert "does not tell" in eye.told[0]
