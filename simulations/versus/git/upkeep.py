"""What packing pushes anew brings, and what commit-graphs do: `python -m simulations.versus.git.upkeep REPO REVISION`.

REPO is a real repository (it is only read), REVISION where its large pack is to end; every commit on the first-parent
line from there to HEAD is one push. Prints sizes, what of the large pack's chunks each way keeps, and processor times.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from forge_p2p.content.chunking import cut_bytes
from forge_p2p.content.gitmanifest import GitPack
from forge_p2p.git.joining import join_arrived
from forge_p2p.git.repacking import repack_arrived
from forge_p2p.git.running import Git

QUESTIONS = (
    ("rev-list", "--count", "--all"),
    ("merge-base", "{revision}", "HEAD"),
    ("describe", "--always", "HEAD"),
    ("log", "--oneline", "-n", "20"),
)


@dataclass(slots=True)
class Growth:
    """A large pack in `folder`, and one for each push after it."""

    git: Git
    folder: bytes
    revision: str
    large: list[GitPack] = field(default_factory=list)
    pushes: list[GitPack] = field(default_factory=list)
    seen: set[bytes] = field(default_factory=set)

    def grow(self) -> None:
        """Makes the packs, as publishing and pushing would."""
        self.large.append(self._pack(self.revision))
        commits = self.git.run("rev-list", "--first-parent", "--reverse", f"{self.revision}..HEAD").decode().split()
        for old, new in zip([self.revision, *commits], commits, strict=False):
            pack = self._pack(new, f"^{old}")
            if pack.objects:
                self.pushes.append(pack)

    def _pack(self, *revisions: str) -> GitPack:
        listed = self.git.run("rev-list", "--objects", *revisions).split(b"\n")[:-1]
        lines = [line + b"\n" for line in listed if line.split(b" ")[0] not in self.seen]
        self.seen.update(line.split()[0] for line in lines)
        words = ("-c", "pack.writeReverseIndex=true", "pack-objects", "-q", "--delta-base-offset")
        name = self.git.run(*words, os.path.join(self.folder, b"pack"), feed=lines) if lines else b""
        return GitPack(bytes.fromhex(name.strip().decode()), len(lines), [], [])


def path_of(folder: bytes, pack: bytes) -> Path:
    return Path(os.fsdecode(folder)) / f"pack-{pack.hex()}.pack"


def linked(growth: Growth, packs: list[GitPack], into: Path) -> bytes:
    """A folder of its own with these packs."""
    (into / "packs").mkdir(parents=True)
    for pack in packs:
        for suffix in (".pack", ".rev", ".idx"):
            source = path_of(growth.folder, pack.hash).with_suffix(suffix)
            os.link(source, into / "packs" / source.name)
    return os.fsencode(into / "packs")


def chunks(path: Path) -> dict[bytes, int]:
    """Sizes of a file's chunks by their hashes."""
    return {bytes(each.hash): each.length for each in cut_bytes(path.read_bytes())}


def ways(growth: Growth, work: Path) -> Iterator[tuple[str, list[Path]]]:
    """Each way to have few packs, and the packs that there are then."""
    large = path_of(growth.folder, growth.large[0].hash)
    folder = linked(growth, growth.pushes, work / "joined")
    joined = join_arrived(folder, growth.pushes, "sha1")
    yield "pushes joined", [large, *([path_of(folder, joined)] if joined else [])]
    folder = linked(growth, growth.pushes, work / "anew")
    yield "pushes packed anew", [large, path_of(folder, repack_arrived(growth.git, folder, growth.pushes).hash)]
    everything = [*growth.large, *growth.pushes]
    folder = linked(growth, everything, work / "all")
    yield "everything packed anew", [path_of(folder, repack_arrived(growth.git, folder, everything).hash)]


def spent() -> float:
    """Seconds of processor time of all children so far."""
    times = os.times()
    return times.children_user + times.children_system


def main(repository: str, revision: str) -> None:
    """Measures, and prints."""
    with TemporaryDirectory(prefix="forge-upkeep-") as temporary:
        work = Path(temporary)
        (work / "packs").mkdir()
        git = Git(os.fsencode(repository), dict(os.environ))
        growth = Growth(git, os.fsencode(work / "packs"), revision)
        growth.grow()
        large = chunks(path_of(growth.folder, growth.large[0].hash))
        print(f"large pack: {growth.large[0].objects:,} objects, {sum(large.values()):,} bytes")
        print(f"{len(growth.pushes)} pushes: {sum(pack.objects for pack in growth.pushes):,} objects")
        for name, packs in ways(growth, work):
            there = [chunks(path) for path in packs]
            kept = sum(size for each in there for chunk, size in each.items() if chunk in large)
            sizes = " + ".join(f"{path.stat().st_size:,}" for path in packs)
            print(f"{name}: {sizes} bytes, {100 * kept / sum(large.values()):.1f} % of the large pack's chunks")
        ask(work / "asked.git", repository, revision)


def ask(path: Path, repository: str, revision: str) -> None:
    """What commit-graphs cost and bring, on a clone."""
    git = Git(os.fsencode(path), dict(os.environ))
    git.run("clone", "--quiet", "--bare", "--", repository, os.fsencode(path))
    (path / "objects" / "info" / "commit-graph").unlink(missing_ok=True)
    questions = [tuple(word.format(revision=revision) for word in words) for words in QUESTIONS]
    rows = [("commit-graph", "write", "--reachable"), ("commit-graph", "verify")]
    for words in (*questions, *rows, *questions):
        before = spent()
        git.run(*words)
        print(f"{spent() - before:6.2f} s   git {' '.join(words)}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
