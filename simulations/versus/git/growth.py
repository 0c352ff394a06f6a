"""A long history from real files: edits that are the same in every run.

Nobody's registry has the 40,000 commits of a large project. What makes them expensive is known, though: many objects,
most of them small deltas, trees changed along the path of every edit. So files of real releases are edited at random,
and how much of a file an edit replaces is set so that the pack has some 600 bytes an object, as large projects have.

Versions of one file come out newest first, which makes `git fast-import` store the newest whole and the older ones as
deltas to it, as `git repack` does.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

EDITED = 1 << 17
"""Bytes of the largest file that is edited."""

LINES = 100
"""Lines that an edit replaces at most."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One file's next version in a commit."""

    path: str
    version: int


def schedule(files: Mapping[str, bytes], commits: int, edits: int) -> list[list[Edit]]:
    """For each commit, which files it edits. A few files change often and most rarely, as in real projects."""
    chance = random.Random(f"{commits} {edits}")
    paths = sorted(path for path, content in files.items() if 200 <= len(content) <= EDITED and b"\0" not in content)
    chance.shuffle(paths)
    weights = [1.0 / (1 + place) ** 0.5 for place in range(len(paths))]
    versions = dict.fromkeys(paths, 0)
    plan = []
    for _ in range(commits):
        chosen = sorted(set(chance.choices(paths, weights, k=chance.randint(1, 2 * edits - 1))))
        for path in chosen:
            versions[path] += 1
        plan.append([Edit(path, versions[path]) for path in chosen])
    return plan


def grown(path: str, content: bytes, versions: int) -> Sequence[bytes]:
    """The next versions of a file, oldest first."""
    chance = random.Random(path)
    lines = content.splitlines(keepends=True)
    words = content.split()[:2000] or [b"word"]
    made = []
    for _ in range(versions):
        at, count = chance.randrange(len(lines)), chance.randint(1, LINES)
        lines[at : at + count] = _new_lines(chance, words, count)
        made.append(b"".join(lines))
    return made


def _new_lines(chance: random.Random, words: Sequence[bytes], count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield b"    %b = %b(%x)\n" % (
            chance.choice(words),
            b" ".join(chance.choices(words, k=6)),
            chance.getrandbits(320),
        )


def message(number: int, edits: Sequence[Edit]) -> bytes:
    """A commit's message of some hundred bytes."""
    chance = random.Random(number)
    names = ", ".join(edit.path.rpartition("/")[2] for edit in edits)
    why = " ".join(chance.choices(_TEXT.split(), k=chance.randint(10, 50)))
    return f"Change {names}\n\n{why} (#{chance.getrandbits(40):x})\n".encode()


_TEXT = """
when then after before because the a this that value name path index cache reader writer table column field test case
error message option default returns raises takes keeps drops copies renames fixes breaks adds removes checks empty long
short first last next previous missing broken slow fast old new shared local remote unused
"""
