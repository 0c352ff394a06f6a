"""Two packs made one, beside what git would have to do."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simulations.versus.bench import Bar, Bench, Case, Contender, Trial, Turn
from simulations.versus.git.corpus import Corpus, corpus, git
from simulations.versus.git.sides import turn
from simulations.versus.inputs import MB, check_content
from simulations.versus.peers import program
from simulations.versus.process import measure
from simulations.versus.report import ROOT

JOIN, INDEX_PACK = "forge, packs joined", "git index-pack of the joined pack"


def halves(bench: Bench, made: Corpus) -> list[Path]:
    """A repository in two packs of about the same size, kept beside it."""
    folder = made.path.with_suffix(".halves")
    if not folder.exists():
        part = bench.fresh("halves")
        part.mkdir()
        older = git(made.path, "rev-list", "--objects", f"main~{_middle(made)}").splitlines()
        newer = git(made.path, "rev-list", "--objects", "main").splitlines()
        first = {line.split()[0] for line in older}
        for lines in (older, [line for line in newer if line.split()[0] not in first]):
            git(made.path, "pack-objects", "-q", "--delta-base-offset", part / "half", given="\n".join(lines) + "\n")
        measure(["mv", part, folder])
    return sorted(folder.glob("*.pack"))


def _middle(made: Corpus) -> int:
    """How many commits behind the tip half of the bytes are: the first release is much of the older half."""
    return int(git(made.path, "rev-list", "--count", "main")) * 6 // 10


@contextmanager
def join(bench: Bench) -> Iterator[Trial]:
    """Two packs of one repository, and git's own way to the same index."""
    made = corpus(bench.inputs, "large")
    packs = halves(bench, made)
    joined, indexed = bench.work / "joined", bench.work / "indexed"

    def join_turn() -> Turn:
        return turn(measure([sys.executable, "-m", "simulations.versus.git.joining", joined, *packs], folder=ROOT))

    def index_turn() -> Turn:
        (pack,) = joined.glob("*.pack")
        return turn(measure([program("git"), "index-pack", "-o", indexed / "pack.idx", pack], folder=made.path))

    def check() -> None:
        (index,) = joined.glob("*.idx")
        check_content(index, indexed / "pack.idx")

    yield Trial(
        [
            Contender(JOIN, join_turn, lambda: bench.fresh(joined.name).mkdir()),
            Contender(INDEX_PACK, index_turn, lambda: bench.fresh(indexed.name).mkdir(), check),
        ],
        sum(pack.stat().st_size for pack in packs),
        [Bar("1.5 s", lambda medians: medians.seconds[JOIN] <= 1.5)],
        f"{' and '.join(f'{pack.stat().st_size / MB:.0f}' for pack in packs)} MB, {made.objects:,} objects together. "
        "Both indexes are the same, byte for byte. Start of the interpreter and of numpy included.",
    )


CASES = [Case("git_join", "Two packs made one", join)]
