"""What two large sets of hashes differ in, at a cost that follows the difference and not the sets.

Range-based set reconciliation (A. Meyer, "Range-Based Set Reconciliation", SRDS 2023): compare fingerprints of ranges,
and look closer where they differ. Hashes are uniform, so ranges are prefixes, hexadecimal digit by digit, and need no
bounds on the wire. A set is one sorted buffer, and a fingerprint is BLAKE3 of a slice of it: 32 MB, all of a million
hashes, in 5 ms. So nothing is kept up to date as the set changes, and nothing about a peer is kept at all: who is asked
answers each question by itself.

    ask prefixes     ──▶  for each: fingerprints of its sixteen parts, or the short names of all that is in it
    ask short names  ──▶  the hashes themselves

Elements are hashes, or the first 64 bits of hashes (`width`): such are as short as a short name, so they are named as
they are, and the second kind of question never comes.

Fingerprints and short names are keyed with a salt of the asker's, fresh each time: nobody can prepare hashes that look
alike. By chance two ranges that differ look alike once in 2^64 comparisons.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice, pairwise
from operator import eq
from typing import Annotated, Final

import msgspec
from blake3 import blake3
from msgspec import Meta

from forge_p2p.errors import Malformed
from forge_p2p.ids import HASH_SIZE

SALT_SIZE: Final = 32
MARK: Final = 8
"""Bytes of a fingerprint and of a short name."""

LEAF: Final = 32
"""Hashes of a prefix that are named rather than divided: sixteen fingerprints are as long as sixteen short names, and
another round trip costs more than as many again."""

PREFIXES_MAX: Final = 512
"""In one question: its answer has at most 130 KB."""

NAMES_MAX: Final = 1024
"""Short names in one question."""

ANSWER_BYTES: Final = 8 * 1024 * 1024
"""All answers to one asker together: sets that differ more are told apart by listing them."""

QUESTIONS_MAX: Final = 4096
"""To one who answers, in one reconciliation: as many as so many bytes can need, and a bound for who says nothing."""

_DIGITS = "0123456789abcdef"
_FINGERPRINTS, _NAMES = b"\x00", b"\x01"

Prefix = Annotated[str, Meta(pattern=f"^[{_DIGITS}]*$", max_length=2 * HASH_SIZE)]
Names = Annotated[bytes, Meta(max_length=LEAF * MARK)]


class Question(msgspec.Struct, frozen=True, array_like=True):
    """`prefixes`: ascending, none the beginning of another, so that no answer costs more than one look at the set.
    `names`: short names, one behind the other, of hashes below a prefix."""

    salt: Annotated[bytes, Meta(min_length=SALT_SIZE, max_length=SALT_SIZE)]
    prefixes: Annotated[tuple[Prefix, ...], Meta(max_length=PREFIXES_MAX)]
    names: Annotated[tuple[tuple[Prefix, Names], ...], Meta(max_length=NAMES_MAX)]

    def __post_init__(self) -> None:
        for asked in (self.prefixes, tuple([prefix for prefix, _ in self.names])):
            if any(later.startswith(first) or later < first for first, later in pairwise(asked)):
                raise ValueError("prefixes are not ascending, or one begins another")
        if sum([len(names) for _, names in self.names]) > NAMES_MAX * MARK:
            raise ValueError(f"more than {NAMES_MAX} short names")


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """`ranges`: for each prefix a byte, and sixteen fingerprints (0) or the short names of all hashes (1). `hashes`:
    those named, one behind the other."""

    ranges: Annotated[tuple[Annotated[bytes, Meta(max_length=1 + LEAF * MARK)], ...], Meta(max_length=PREFIXES_MAX)]
    hashes: Annotated[bytes, Meta(max_length=NAMES_MAX * HASH_SIZE)]


class HashSet:
    """A set of hashes as one sorted buffer, each of `width` bytes: 32, or 8 of their beginnings."""

    def __init__(self, rows: bytes, width: int = HASH_SIZE) -> None:
        """`rows`: the hashes in order, each once, one behind the other."""
        self.width = width
        self._rows = memoryview(rows)
        self._count = len(rows) // width

    @classmethod
    def of(cls, hashes: Iterable[bytes], width: int = HASH_SIZE) -> "HashSet":
        """Any order; those that come in order, as from a store's index, are cheapest."""
        rows = sorted(hashes)
        if any(map(eq, rows, islice(rows, 1, None))):
            rows = list(dict.fromkeys(rows))
        return cls(b"".join(rows), width)

    def __len__(self) -> int:
        return self._count

    def bounds(self, prefix: str) -> tuple[int, int]:
        """The positions of the hashes that begin with these digits: from, to."""
        if len(prefix) > 2 * self.width:
            return 0, 0
        start = self._position(prefix, 0, self._count)
        return start, self._position(prefix.ljust(2 * self.width, "f") + "00", start, self._count)

    def below(self, start: int, end: int) -> list[bytes]:
        """The hashes at these positions."""
        rows, width = self._rows, self.width
        return [bytes(rows[at : at + width]) for at in range(start * width, end * width, width)]

    def names(self, salt: bytes, start: int, end: int) -> list[bytes]:
        """The short names of these hashes."""
        below = self.below(start, end)
        return below if self.width == MARK else [_name(salt, each) for each in below]

    def fingerprints(self, salt: bytes, prefix: str) -> bytes:
        """Of the sixteen parts of a prefix, in order; zeros for an empty one."""
        start, end = self.bounds(prefix)
        if start == end:
            return bytes(MARK * len(_DIGITS))
        starts = [self._position(prefix + digit, start, end) for digit in _DIGITS]
        parts = zip(starts, [*starts[1:], end], strict=True)
        return b"".join([self._fingerprint(salt, first, last) for first, last in parts])

    def _fingerprint(self, salt: bytes, start: int, end: int) -> bytes:
        if start == end:
            return bytes(MARK)
        return blake3(self._rows[start * self.width : end * self.width], key=salt).digest(MARK)

    def _position(self, digits: str, start: int, end: int) -> int:
        """Of the first hash from `start` on, and before `end`, that is not below these digits."""
        rows, width = self._rows, self.width
        bound = bytes.fromhex(digits.ljust(2 * width, "0"))
        return bisect_left(
            range(self._count), bound, start, end, key=lambda at: bytes(rows[at * width : (at + 1) * width])
        )


def answer(here: HashSet, question: Question) -> Answer:
    """What is to be said to a question. Costs at most one look at the whole set, for prefixes do not overlap."""
    salt = question.salt
    ranges: list[bytes] = []
    for prefix in question.prefixes:
        start, end = here.bounds(prefix)
        if end - start <= LEAF:
            ranges.append(_NAMES + b"".join(here.names(salt, start, end)))
        else:
            ranges.append(_FINGERPRINTS + here.fingerprints(salt, prefix))
    found: list[bytes] = []
    for prefix, names in question.names:
        start, end = here.bounds(prefix)
        if end - start <= LEAF:
            wanted = set(_split(names))
            named = zip(here.names(salt, start, end), here.below(start, end), strict=True)
            found += [each for name, each in named if name in wanted]
    return Answer(tuple(ranges), b"".join(found[:NAMES_MAX]))


class Reconciliation:
    """The asking side: `next_question` until it is `None`, each answered to `receive`. Then `missing` are the hashes
    that only the other side has, `extra` those that only this side has, both exactly."""

    def __init__(self, here: HashSet, salt: bytes, most: int = ANSWER_BYTES) -> None:
        """`salt`: 32 bytes from a cryptographic generator. `most`: bytes of answers that the difference is worth."""
        self.missing: set[bytes] = set()
        self.extra: set[bytes] = set()
        self._here = here
        self._salt = salt
        self._most = most
        self._open = deque(_DIGITS)
        self._named: deque[tuple[str, bytes]] = deque()
        self._asked: Question | None = None
        self._heard = self._questions = 0

    def next_question(self) -> Question | None:
        """What to ask next; `None` when all is known."""
        if not self._open and not self._named:
            return None
        prefixes: list[str] = []
        while self._open and len(prefixes) < PREFIXES_MAX and _follows(self._open[0], prefixes):
            prefixes.append(self._open.popleft())
        named: list[tuple[str, bytes]] = []
        room = NAMES_MAX * MARK
        while (
            self._named
            and len(self._named[0][1]) <= room
            and _follows(self._named[0][0], [each for each, _ in named[-1:]])
        ):
            named.append(self._named.popleft())
            room -= len(named[-1][1])
        self._asked = Question(self._salt, tuple(prefixes), tuple(named))
        return self._asked

    def receive(self, told: Answer) -> None:
        """The answer to the last question. Raises `Malformed` when it is none, or when the sets differ so much that
        this is not the way to tell them apart."""
        asked, self._asked = self._asked, None
        if asked is None or len(told.ranges) != len(asked.prefixes):
            raise Malformed("an answer about other ranges than were asked for")
        self._questions += 1
        self._heard += sum([len(each) for each in told.ranges]) + len(told.hashes)
        if self._heard > self._most or self._questions > QUESTIONS_MAX:
            raise Malformed(
                f"the sets differ in more than {self._most} bytes and {QUESTIONS_MAX} questions can tell",
                hint="exchange what they hold instead",
            )
        for prefix, said in zip(asked.prefixes, told.ranges, strict=True):
            if said[:1] == _NAMES and len(said) % MARK == 1:
                self._compare_names(prefix, said[1:])
            elif (
                said[:1] == _FINGERPRINTS
                and len(said) == 1 + MARK * len(_DIGITS)
                and len(prefix) < 2 * self._here.width
            ):
                self._compare_fingerprints(prefix, said[1:])
            else:
                raise Malformed(f"an answer about prefix {prefix!r} that is neither fingerprints nor names")
        self._take_hashes(asked, told.hashes)

    def _compare_fingerprints(self, prefix: str, said: bytes) -> None:
        ours = self._here.fingerprints(self._salt, prefix)
        for at, digit in enumerate(_DIGITS):
            if ours[at * MARK : (at + 1) * MARK] != said[at * MARK : (at + 1) * MARK]:
                self._open.append(prefix + digit)

    def _compare_names(self, prefix: str, said: bytes) -> None:
        theirs = set(_split(said))
        bounds = self._here.bounds(prefix)
        ours = dict(zip(self._here.names(self._salt, *bounds), self._here.below(*bounds), strict=True))
        self.extra.update([each for name, each in ours.items() if name not in theirs])
        lacking = sorted(theirs - ours.keys())
        if self._here.width == MARK:
            if not all(each.hex().startswith(prefix) for each in lacking):
                raise Malformed(f"an answer about prefix {prefix!r} with a hash that does not begin so")
            self.missing.update(lacking)
        elif lacking:
            self._named.append((prefix, b"".join(lacking)))

    def _take_hashes(self, asked: Question, said: bytes) -> None:
        """Nothing comes but what was asked for. What does not come was removed there meanwhile: that is looked at
        again."""
        if len(said) % HASH_SIZE:
            raise Malformed("an answer with a broken hash")
        wanted = {(prefix, name) for prefix, names in asked.names for name in _split(names)}
        prefixes = [prefix for prefix, _ in asked.names]
        for at in range(0, len(said), HASH_SIZE):
            told = said[at : at + HASH_SIZE]
            prefix = _prefix_of(told, prefixes)
            if (prefix, _name(self._salt, told)) not in wanted:
                raise Malformed("an answer with a hash that was not asked for")
            wanted.remove((prefix, _name(self._salt, told)))
            self.missing.add(told)
        self._open += dict.fromkeys([prefix for prefix, _ in sorted(wanted)])


def _follows(prefix: str, others: Sequence[str]) -> bool:
    """Whether a question may go on with this prefix. They are found in order, level by level."""
    return not others or (others[-1] < prefix and not prefix.startswith(others[-1]))


def _prefix_of(told: bytes, prefixes: Sequence[str]) -> str:
    """Which of the ascending prefixes a hash begins with; empty if none."""
    digits = told.hex()
    at = bisect_left(prefixes, digits)
    near = [prefix for prefix in prefixes[max(at - 1, 0) : at + 1] if digits.startswith(prefix)]
    return near[0] if near else ""


def _name(salt: bytes, each: bytes) -> bytes:
    return blake3(each, key=salt).digest(MARK)


def _split(names: bytes) -> list[bytes]:
    return [names[at : at + MARK] for at in range(0, len(names), MARK)]
