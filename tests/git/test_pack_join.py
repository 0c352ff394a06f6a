"""Joined packs in the eyes of git: its own index, byte for byte, and nothing for fsck to find."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forge_p2p.content.gitmanifest import GitPack
from forge_p2p.errors import Malformed, UsageError
from forge_p2p.git.joining import join_arrived
from forge_p2p.git.packs import join
from forge_p2p.git.packs.formats import OBJECT_FORMATS, SHA1, SHA256, ObjectFormat
from forge_p2p.git.packs.join import NotJoinable, Source, join_packs, open_source
from tests.git.repository import Repository, edited


class History:
    """A repository that grows, each growth in a pack of its own: what no earlier pack has."""

    def __init__(self, folder: Path, form: ObjectFormat = SHA1, seed: int = 1) -> None:
        self.folder = folder
        self.form = form
        self.repository = Repository.create(folder / "repository", form=form.name)
        self.packs: list[Path] = []
        self._known: set[str] = set()
        self._source = random.Random(seed)

    def grow(self, commits: int, *, files: int = 12) -> Path:
        for _ in range(commits):
            names = self._source.sample(range(100), files)
            self.repository.commit({f"d{name % 7}/f{name}": edited(self._source) for name in names})
        fresh = [name for name in self.repository.objects("--all") if name not in self._known]
        self._known.update(fresh)
        self.packs.append(self.repository.pack(self.folder, fresh))
        return self.packs[-1]

    def sources(self) -> list[Source]:
        return [open_source(pack, pack.with_suffix(".idx"), self.form) for pack in self.packs]


def check_with_git(history: History, joined: Path) -> None:
    """git's index of the pack is ours; a repository with this pack alone is sound and has all objects."""
    out = joined.parent / "git.idx"
    history.repository.git(
        "index-pack", "--strict", "--rev-index", f"--object-format={history.form.name}", "-o", out, joined
    )
    assert out.read_bytes() == joined.with_suffix(".idx").read_bytes()
    assert out.with_suffix(".rev").read_bytes() == joined.with_suffix(".rev").read_bytes()
    alone = Repository.create(joined.parent / "alone", form=history.form.name)
    for suffix in (".pack", ".rev", ".idx"):
        (alone.path / "objects" / "pack" / joined.with_suffix(suffix).name).symlink_to(joined.with_suffix(suffix))
    alone.git("update-ref", "refs/heads/main", history.repository.git("rev-parse", "main"))
    alone.git("verify-pack", alone.path / "objects" / "pack" / joined.name)
    assert alone.git("fsck", "--strict", "--no-dangling") == ""
    assert alone.objects("--all") == history.repository.objects("--all")


@pytest.mark.parametrize("form", OBJECT_FORMATS.values(), ids=OBJECT_FORMATS)
@pytest.mark.parametrize("packs", [1, 2, 5])
def test_joined_packs_are_as_if_git_had_indexed_them(tmp_path: Path, form: ObjectFormat, packs: int) -> None:
    history = History(tmp_path, form, seed=packs)
    for number in range(packs):
        history.grow(2 if number else 8)
    (tmp_path / "joined").mkdir()
    joined = join_packs(history.sources(), tmp_path / "joined", durable=packs == 2)
    assert len(list(joined.parent.iterdir())) == 3
    check_with_git(history, joined)


def test_what_was_joined_can_be_joined_again(tmp_path: Path) -> None:
    history = History(tmp_path)
    for _ in range(3):
        history.grow(3)
    first = join_packs(history.sources()[:2], tmp_path)
    history.packs = [first, history.packs[2]]
    (tmp_path / "joined").mkdir()
    check_with_git(history, join_packs(history.sources(), tmp_path / "joined"))


@pytest.mark.parametrize("block", [1, 13, 4096])
def test_entries_are_found_wherever_a_block_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    history = History(tmp_path)
    history.grow(1)
    history.grow(1)
    monkeypatch.setattr(join, "_BLOCK", block)
    check_with_git(history, join_packs(history.sources(), _folder(tmp_path)))


def test_where_the_kernel_cannot_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As between an old kernel's file systems."""
    history = History(tmp_path)
    history.grow(3)
    history.grow(1)

    def refuse(*words: object, **more: object) -> int:
        raise OSError(18, os.strerror(18))

    monkeypatch.setattr(os, "copy_file_range", refuse)
    check_with_git(history, join_packs(history.sources(), _folder(tmp_path)))


def test_an_object_in_two_packs_is_refused(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.grow(2)
    history.packs.append(history.repository.pack(tmp_path, history.repository.objects("-1", "main")))
    with pytest.raises(NotJoinable, match="in more than one"):
        join_packs(history.sources(), _folder(tmp_path))
    assert not list(_folder(tmp_path).iterdir())


def test_bases_named_by_hash_are_refused(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.grow(6)
    history.repository.git("repack", "-adfq")
    history.packs = [history.repository.pack(tmp_path, history.repository.objects("--all"), "--no-reuse-delta")]
    with pytest.raises(NotJoinable, match="by hash"):
        join_packs(history.sources(), _folder(tmp_path))
    assert not list(_folder(tmp_path).iterdir())


def test_two_formats_are_refused(tmp_path: Path) -> None:
    histories = []
    for form in (SHA1, SHA256):
        (tmp_path / form.name).mkdir()
        histories.append(History(tmp_path / form.name, form))
        histories[-1].grow(1)
    with pytest.raises(UsageError, match="SHA-256"):
        join_packs([*histories[0].sources(), *histories[1].sources()], tmp_path)


@pytest.mark.parametrize("empty_first", [True, False])
def test_what_arrived_with_a_pack_of_nothing_is_itself(tmp_path: Path, empty_first: bool) -> None:
    history = History(tmp_path)
    history.repository.git("config", "pack.writeReverseIndex", "true")
    pack, empty = history.grow(2), history.repository.pack(_folder(tmp_path), [])
    for path in (pack, empty):
        for suffix in (".pack", ".rev", ".idx"):
            path.with_suffix(suffix).replace(_folder(tmp_path) / path.with_suffix(suffix).name)
    hashes = [bytes.fromhex(path.stem.removeprefix("pack-")) for path in (pack, empty)]
    packs = [GitPack(each, 0, [], []) for each in (reversed(hashes) if empty_first else hashes)]
    assert join_arrived(os.fsencode(_folder(tmp_path)), packs, "sha1") == hashes[0]
    assert len(list(_folder(tmp_path).iterdir())) == 3
    check_with_git(history, _folder(tmp_path) / pack.name)


def test_an_index_of_another_pack_is_refused(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.grow(2)
    history.grow(1)
    with pytest.raises(Malformed, match=history.packs[1].name):
        open_source(history.packs[1], history.packs[0].with_suffix(".idx"), SHA1)


@pytest.mark.parametrize("length", [0, 11, 12, 31, 32, 500])
def test_a_pack_cut_short_is_refused(tmp_path: Path, length: int) -> None:
    history = History(tmp_path)
    pack = history.grow(2)
    cut = tmp_path / "cut.pack"
    cut.write_bytes(pack.read_bytes()[:length])
    with pytest.raises(Malformed):
        open_source(cut, pack.with_suffix(".idx"), SHA1)


def test_a_pack_cut_short_after_it_was_opened(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.grow(2)
    pack = history.grow(2)
    sources = history.sources()
    pack.chmod(0o600)
    os.truncate(pack, 600)
    with pytest.raises(Malformed, match=pack.name):
        join_packs(sources, _folder(tmp_path))
    assert not list(_folder(tmp_path).iterdir())


def test_an_index_that_points_between_entries(tmp_path: Path) -> None:
    """The types there are whatever bytes stand there: some byte is no type at all, and that is found."""
    history = History(tmp_path)
    pack = history.grow(4)
    raw = bytearray(pack.read_bytes())
    (source,) = history.sources()
    raw[int(source.index.offsets[5])] = 0x50
    pack.chmod(0o600)
    pack.write_bytes(raw)
    with pytest.raises(Malformed, match="no entry"):
        join_packs([source], _folder(tmp_path))


KILLED = """
import sys
from pathlib import Path
from forge_p2p.git.packs.formats import SHA1
from forge_p2p.git.packs.join import join_packs, open_source
packs = [Path(word) for word in sys.argv[2:]]
sources = [open_source(pack, pack.with_suffix(".idx"), SHA1) for pack in packs]
print("ready", flush=True)
while True:
    for path in sorted(Path(sys.argv[1]).glob("pack-*")):  # .idx first
        path.unlink()
    join_packs(sources, Path(sys.argv[1]))
"""


def test_killed_while_joining(tmp_path: Path) -> None:
    """Whenever it is killed, an index is there only beside its whole pack."""
    history = History(tmp_path)
    history.grow(6)
    history.grow(3)
    out = _folder(tmp_path)
    source = random.Random(5)
    for _ in range(6):
        with subprocess.Popen([sys.executable, "-c", KILLED, out, *history.packs], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(source.uniform(0.0, 0.05))
            process.send_signal(signal.SIGKILL)
        for index in out.glob("pack-*.idx"):
            history.repository.git("verify-pack", index.with_suffix(".pack"))
        assert all(path.name.startswith(("pack-", "tmp_")) for path in out.iterdir())


def _folder(parent: Path) -> Path:
    folder = parent / "joined"
    folder.mkdir(exist_ok=True)
    return folder
