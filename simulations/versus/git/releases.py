"""The releases of packages as versions of files: what a real history begins with."""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from simulations.versus.inputs import download

LARGEST = 1 << 20
"""Bytes of a file that a repository of source code would have; compiled modules are larger."""

Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Release:
    """A package in the versions that are one commit together: `NAME==VERSION`, by pip."""

    wheels: Sequence[str]

    @property
    def title(self) -> str:
        return ", ".join(wheel.replace("==", " ") for wheel in self.wheels)


def read(release: Release, cache: Path) -> Files:
    """The files of all wheels of a release, metadata that changes with every build left out."""
    return dict(file for wheel in release.wheels for file in _unpacked(wheel, cache / "wheels" / wheel))


def _unpacked(wheel: str, folder: Path) -> Iterator[tuple[str, bytes]]:
    if not list(folder.glob("*.whl")):
        download(folder, wheel)
    (found,) = folder.glob("*.whl")
    with zipfile.ZipFile(found) as archive:
        for entry in archive.infolist():
            if not entry.is_dir() and ".dist-info/" not in entry.filename and entry.file_size <= LARGEST:
                yield entry.filename, archive.read(entry)
