"""The bytes that the cases work on: made or downloaded once, kept in a cache folder, the same for every contender."""

import hashlib
import os
import random
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

MB = 10**6

WHEELS = (
    "numpy==2.4.6",
    "scipy==1.17.1",
    "sympy==1.14.0",
    "django==5.2.19",
    "pandas==3.1.1",
    "matplotlib==3.11.2",
    "scikit-learn==1.9.1",
    "ansible==12.3.0",
)
"""Pinned, so that runs of different days compare."""


def default_cache() -> Path:
    """Where inputs are kept unless somebody says otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "forge-versus"


@dataclass(frozen=True, slots=True)
class Tree:
    path: Path
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Inputs:
    """Inputs below `cache`. `quick` makes them small. `repository`: what the cases of git clone, in place of what is
    made for them."""

    cache: Path
    quick: bool
    repository: Path | None = None

    @property
    def big(self) -> Path:
        """A file of 10**9 incompressible bytes, the same in every run."""
        size = 32 * MB if self.quick else 1000 * MB
        path = self.cache / f"big-{size // MB}MB" / "big.bin"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_random(path.with_suffix(".part"), size)
            path.with_suffix(".part").rename(path)
        return path

    @property
    def tree(self) -> Tree:
        """The unpacked wheels of `WHEELS`: about 32,000 files, 534 MB."""
        names = WHEELS[3:4] if self.quick else WHEELS
        key = hashlib.sha256(" ".join(names).encode()).hexdigest()[:12]
        path = self.cache / f"tree-{key}"
        if not path.exists():
            self._unpack(names, path)
        files = [entry for entry in path.rglob("*") if entry.is_file() and not entry.is_symlink()]
        return Tree(path, len(files), sum(entry.stat().st_size for entry in files))

    def _unpack(self, names: tuple[str, ...], path: Path) -> None:
        wheels = self.cache / "wheels"
        download(wheels, *names)
        part = path.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        for name in names:
            (wheel,) = wheels.glob(f"{name.partition('==')[0].replace('-', '_')}-*.whl")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(part)
        part.rename(path)


def download(folder: Path, *wheels: str) -> None:
    """Wheels in pinned versions, `NAME==VERSION`, by pip. Raises `subprocess.CalledProcessError`."""
    words = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--only-binary", ":all:", "-d"]
    subprocess.run([*words, folder, *wheels], check=True)


def _write_random(path: Path, size: int) -> None:
    source = random.Random(size)
    with path.open("wb") as file:
        for _ in range(size // MB):
            file.write(source.randbytes(MB))


class Different(Exception):
    """Two trees that should be equal are not."""


def check_same(source: Path, destination: Path) -> None:
    """Two trees' content, executable bits, times, symlinks and empty folders. Raises `Different`, naming the path."""
    ours = {path.relative_to(source) for path in source.rglob("*")}
    theirs = {path.relative_to(destination) for path in destination.rglob("*")}
    if ours != theirs:
        raise Different(f"{len(ours ^ theirs)} entries are on one side only, like {min(ours ^ theirs)}")
    for name in ours:
        _check_entry(source / name, destination / name)


def check_content(one: Path, other: Path) -> None:
    """Two files' bytes."""
    with one.open("rb") as first, other.open("rb") as second:
        while block := first.read(1 << 20):
            if block != second.read(len(block)):
                raise Different(f"{other}: content differs from {one}")
        if second.read(1):
            raise Different(f"{other} is longer than {one}")


def _check_entry(one: Path, other: Path) -> None:
    if one.is_symlink():
        if not other.is_symlink() or os.readlink(one) != os.readlink(other):
            raise Different(f"{other} is another symlink")
    elif one.is_dir() != other.is_dir():
        raise Different(f"{other} is of another kind")
    elif one.is_file():
        ours, theirs = one.stat(), other.stat()
        if ours.st_mtime_ns != theirs.st_mtime_ns or (ours.st_mode ^ theirs.st_mode) & 0o111:
            raise Different(f"{other}: time or mode differ from {one}")
        check_content(one, other)
