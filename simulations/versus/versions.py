"""Two versions of something, the second of which is to arrive where the first is. Made once, like the other inputs."""

import os
import random
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from simulations.versus.inputs import MB, Inputs, download

EARLIER, LATER = 1_700_000_000, 1_700_086_400
"""Times of files: of all that the old version has, and of what the new one has otherwise."""

DISK_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Versions:
    """Two directories. What is equal in both has equal times, so that rsync need not look into it."""

    old: Path
    new: Path


def text(inputs: Inputs) -> Versions:
    """A file of 10 MB of words in lines, and the same with one line inserted."""
    made = _place(inputs, "text")
    if not made.new.exists():
        chance = random.Random(1)
        vocabulary = [
            "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 10))) for _ in range(5000)
        ]
        lines = [" ".join(chance.choices(vocabulary, k=10)) + "\n" for _ in range(14_500 if inputs.quick else 145_000)]
        middle = len(lines) // 2
        _fill(made.old, "text", "".join(lines))
        _fill(made.new, "text", "".join([*lines[:middle], "one more line of text\n", *lines[middle:]]))
        _set_times(made)
    return made


def wheels(inputs: Inputs, name: str, old: str, new: str) -> Versions:
    """Two unpacked wheels."""
    made = _place(inputs, f"{name}-{old}-{new}")
    if not made.new.exists():
        _unpack(inputs, f"{name}=={old}", made.old)
        _unpack(inputs, f"{name}=={new}", made.new)
        _set_times(made)
    return made


def disk(inputs: Inputs) -> Versions:
    """A file of 4 GB of noise, like a virtual machine's encrypted disk, and the same after 1,000 scattered writes."""
    megabytes, writes = (64, 16) if inputs.quick else (4096, 1000)
    made = _place(inputs, f"disk-{megabytes}")
    if not made.new.exists():
        chance = random.Random(megabytes)
        made.old.mkdir(parents=True)
        with (made.old / "disk").open("wb") as file:
            for _ in range(megabytes):
                file.write(chance.randbytes(1 << 20))
        made.new.with_suffix(".part").mkdir()
        shutil.copyfile(made.old / "disk", made.new.with_suffix(".part") / "disk")
        with (made.new.with_suffix(".part") / "disk").open("r+b") as file:
            for block in chance.sample(range((megabytes << 20) // DISK_BLOCK), writes):
                file.seek(block * DISK_BLOCK)
                file.write(chance.randbytes(DISK_BLOCK))
        made.new.with_suffix(".part").rename(made.new)
        _set_times(made)
    return made


def _place(inputs: Inputs, name: str) -> Versions:
    place = inputs.cache / f"versions-{name}{'-quick' if inputs.quick else ''}"
    if not (place / "new").exists():
        shutil.rmtree(place, ignore_errors=True)
    return Versions(place / "old", place / "new")


def _fill(directory: Path, name: str, content: str) -> None:
    directory.mkdir(parents=True)
    (directory / name).write_text(content)


def _unpack(inputs: Inputs, wheel: str, directory: Path) -> None:
    folder = inputs.cache / f"wheel-{wheel}"
    download(folder, wheel)
    (found,) = folder.glob("*.whl")
    part = directory.with_suffix(".part")
    with zipfile.ZipFile(found) as archive:
        archive.extractall(part)
    part.rename(directory)


def _set_times(versions: Versions) -> None:
    for new in versions.new.rglob("*"):
        old = versions.old / new.relative_to(versions.new)
        same = old.is_file() and new.is_file() and old.stat().st_size == new.stat().st_size and _equal(old, new)
        os.utime(new, times=(LATER, EARLIER if same or new.is_dir() else LATER))
    for old in versions.old.rglob("*"):
        os.utime(old, times=(EARLIER, EARLIER))


def _equal(one: Path, other: Path) -> bool:
    with one.open("rb") as first, other.open("rb") as second:
        while block := first.read(MB):
            if block != second.read(MB):
                return False
    return True
