"""Repositories to measure on, made from the releases of packages and kept in the cache folder.

python -m simulations.versus.git.corpus [SIZE]... [--cache DIR]
"""

import argparse
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from simulations.versus.git.growth import Edit, grown, message, schedule
from simulations.versus.git.releases import Files, Release, read
from simulations.versus.inputs import MB, Inputs, default_cache
from simulations.versus.peers import program

DJANGO = ("4.2", "4.2.11", "5.0", "5.0.6", "5.1", "5.1.4", "5.2", "5.2.3", "5.2.6", "5.2.9")
CLICK = ("8.1.0", "8.1.3", "8.1.7", "8.1.8")
WIDE = ("numpy==2.4.6", "scipy==1.17.1", "sympy==1.14.0", "django==5.2.19", "pandas==3.1.1", "matplotlib==3.11.2")

NEWEST = 10
"""Commits that a fetch brings: `Corpus.before` is so many behind the tip."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a repository is made of: releases, then so many commits of so many edits on the average."""

    releases: Sequence[Release]
    commits: int
    edits: int = 3


SIZES = {
    "small": Size([Release([f"click=={version}"]) for version in CLICK], 200),
    "mid": Size([Release([f"django=={version}"]) for version in DJANGO], 1_500),
    "large": Size([Release(["django==5.2.9", "sympy==1.14.0"])], 43_000),
    "wide": Size([Release([*WIDE, "scikit-learn==1.9.1", "ansible==12.3.0"])], 20),
}
"""small: seconds to make. mid: a pack of 10 to 50 MB. large: 800,000 objects. wide: a checkout of 30,000 files."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """A bare repository, packed as a server would have it: one pack, bitmap, commit-graph."""

    path: Path
    tip: str
    before: str
    objects: int
    bytes: int
    files: int

    @property
    def note(self) -> str:
        return f"{self.objects:,} objects, a pack of {self.bytes / MB:.0f} MB, {self.files:,} files in the tip."


def corpus(inputs: Inputs, name: str) -> Corpus:
    """The repository of a size, made on first use. Runs with small inputs get the small one. A real one, if there is
    one among the inputs, whatever its size."""
    name = "small" if inputs.quick else name
    real = inputs.repository
    path = inputs.cache / "git" / (f"real-{real.resolve().name}-{_mark(real)}.git" if real else f"{name}.git")
    if not path.exists():
        part = path.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        if real:
            _take(real, part)
        else:
            _make(SIZES[name], inputs.cache, part)
        _pack(part)
        part.rename(path)
    for setting in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant", "http.receivepack"):
        git(path, "config", setting, "true")
    (pack,) = (path / "objects" / "pack").glob("*.pack")
    return Corpus(
        path,
        git(path, "rev-parse", "main"),
        git(path, "rev-parse", f"main~{NEWEST}"),
        int(git(path, "count-objects", "-v").partition("in-pack: ")[2].split()[0]),
        pack.stat().st_size,
        len(git(path, "ls-tree", "-r", "--name-only", "main").splitlines()),
    )


def git(folder: Path, *words: str | Path, given: str = "") -> str:
    """What a git command says, in `folder`. Raises `subprocess.CalledProcessError`."""
    command = [program("git"), "-C", folder, *words]
    return subprocess.run(command, input=given, check=True, capture_output=True, text=True).stdout.strip()


def _mark(real: Path) -> str:
    """Tells its states apart."""
    return git(real, "rev-parse", "--short=12", "HEAD")


def _take(real: Path, path: Path) -> None:
    """HEAD and the tags of a repository that there is, HEAD as `main`."""
    git(real, "clone", "--quiet", "--bare", "--single-branch", ".", path)
    git(path, "branch", "--force", "-M", "main")
    git(path, "remote", "remove", "origin")


def _pack(path: Path) -> None:
    """As a server would have it at its best."""
    git(path, "repack", "-ad", "--write-bitmap-index")
    git(path, "commit-graph", "write", "--reachable")


def _make(size: Size, cache: Path, path: Path) -> None:
    subprocess.run([program("git"), "init", "--quiet", "--bare", "-b", "main", path], check=True)
    words = [program("git"), "-C", str(path), "fast-import", "--quiet"]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        _write(size, cache, process.stdin)
        process.stdin.close()
        if process.wait() != 0:
            raise subprocess.CalledProcessError(process.returncode, words)


def _write(size: Size, cache: Path, stream: IO[bytes]) -> None:
    """The whole history for `git fast-import`: all versions of one path after the other, then the commits."""
    releases = [read(release, cache) for release in size.releases]
    plan = schedule(releases[-1], size.commits, size.edits)
    later: dict[str, int] = defaultdict(int)
    for edit in (edit for edits in plan for edit in edits):
        later[edit.path] = edit.version
    marks = _write_blobs(releases, later, stream)
    for number, (release, old, new) in enumerate(zip(size.releases, [{}, *releases], releases, strict=False)):
        _write_commit(stream, number, release.title.encode(), _changes(old, new, marks))
    for number, edits in enumerate(plan, len(releases)):
        _write_commit(stream, number, message(number, edits), _edits(edits, marks))


@dataclass(slots=True)
class Track:
    """The marks of one path's versions: those of the releases by content, those of its edits by number."""

    released: dict[bytes, int]
    edited: list[int]


def _write_blobs(releases: Sequence[Files], later: Mapping[str, int], stream: IO[bytes]) -> dict[str, Track]:
    mark = 0
    tracks = {}
    for path in dict.fromkeys(path for release in releases for path in release):
        contents = list(dict.fromkeys(release[path] for release in releases if path in release))
        edits = grown(path, releases[-1][path], later[path]) if later.get(path) else []
        numbers = range(mark + 1, mark + 1 + len(contents) + len(edits))
        for number, content in zip(reversed(numbers), reversed([*contents, *edits]), strict=True):
            stream.write(b"blob\nmark :%d\ndata %d\n%b\n" % (number, len(content), content))
        tracks[path] = Track(dict(zip(contents, numbers, strict=False)), [*numbers[len(contents) :]])
        mark += len(numbers)
    return tracks


def _changes(old: Files, new: Files, tracks: Mapping[str, Track]) -> Iterator[bytes]:
    """What a release changes."""
    for path in old.keys() - new.keys():
        yield b"D %b\n" % _quoted(path)
    for path, content in sorted(new.items()):
        if old.get(path) != content:
            yield b"M 100644 :%d %b\n" % (tracks[path].released[content], _quoted(path))


def _edits(edits: Sequence[Edit], tracks: Mapping[str, Track]) -> Iterator[bytes]:
    for edit in edits:
        yield b"M 100644 :%d %b\n" % (tracks[edit.path].edited[edit.version - 1], _quoted(edit.path))


def _quoted(path: str) -> bytes:
    return b'"%b"' % path.replace("\\", "\\\\").replace('"', '\\"').encode()


def _write_commit(stream: IO[bytes], number: int, text: bytes, changes: Iterator[bytes]) -> None:
    who = b"Ada <ada@example.org> %d +0000" % (1_500_000_000 + 600 * number)
    stream.write(b"commit refs/heads/main\ncommitter %b\ndata %d\n%b\n" % (who, len(text), text))
    stream.writelines(changes)
    stream.write(b"\n")


def main() -> None:
    """Makes repositories of sizes, and says what they are."""
    parser = argparse.ArgumentParser("simulations.versus.git.corpus", description=__doc__)
    parser.add_argument("sizes", nargs="*", choices=[*SIZES, []], default=[*SIZES], metavar="SIZE")
    parser.add_argument("--cache", type=Path, default=default_cache())
    options = parser.parse_args()
    for name in options.sizes:
        made = corpus(Inputs(options.cache, quick=False), name)
        print(f"{name}: {made.path}: {made.note}", flush=True)


if __name__ == "__main__":
    main()
