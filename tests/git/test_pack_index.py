"""Pack indexes beside git's own: what it writes is read, what is written is its bytes, what lies is refused."""

import io
import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.errors import Malformed
from forge_p2p.git.packs.formats import OBJECT_FORMATS, SHA1, SHA256, ObjectFormat, pack_header, read_pack_header
from forge_p2p.git.packs.index import (
    PackIndex,
    as_keys,
    fan_out,
    order_of_names,
    parse_index,
    read_index,
    repeated,
    write_index,
    write_reverse,
)
from tests.git.repository import Repository, edited


@pytest.fixture(scope="module", params=[SHA1, SHA256], ids=["sha1", "sha256"])
def packed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[ObjectFormat, Path]:
    """A pack of real history and its index."""
    form: ObjectFormat = request.param
    folder = tmp_path_factory.mktemp(form.name)
    repository = Repository.create(folder / "repository", form=form.name)
    source = random.Random(1)
    for number in range(30):
        repository.commit({f"d{number % 3}/f{each}": edited(source) for each in range(20)})
    return form, repository.pack(folder, repository.objects("--all"))


def written(index: PackIndex, write: Callable[[PackIndex, io.BytesIO], None] = write_index) -> bytes:
    file = io.BytesIO()
    write(index, file)
    return file.getvalue()


def test_what_git_wrote_is_read(packed: tuple[ObjectFormat, Path]) -> None:
    form, pack = packed
    index = read_index(pack.with_suffix(".idx"), form, pack.stat().st_size)
    shown = Repository(pack.parent / "repository").git(
        "show-index", f"--object-format={form.name}", given=pack.with_suffix(".idx").read_bytes()
    )
    ours = [
        f"{offset} {bytes(name).hex()} ({crc:08x})"
        for offset, name, crc in zip(index.offsets, index.names, index.crcs, strict=True)
    ]
    assert ours == shown.splitlines()
    assert len(ours) > 600


def test_writing_gives_gits_bytes(packed: tuple[ObjectFormat, Path]) -> None:
    form, pack = packed
    raw = pack.with_suffix(".idx").read_bytes()
    assert written(parse_index(raw, form, pack.stat().st_size)) == raw


def test_large_offsets_and_the_reverse_index(packed: tuple[ObjectFormat, Path], tmp_path: Path) -> None:
    form, pack = packed
    out = tmp_path / "large.idx"
    Repository(pack.parent / "repository").git(
        "index-pack", "--index-version=2,0x400", "--rev-index", f"--object-format={form.name}", "-o", out, pack
    )
    index = read_index(out, form, pack.stat().st_size)
    assert np.array_equal(index.offsets, read_index(pack.with_suffix(".idx"), form, pack.stat().st_size).offsets)
    assert written(index, lambda index, file: write_index(index, file, small_limit=0x400)) == out.read_bytes()
    assert written(index, write_reverse) == out.with_suffix(".rev").read_bytes()


def test_offsets_past_four_gigabytes() -> None:
    names = np.array([[1] * 20, [2] * 20, [3] * 20], np.uint8)
    offsets = np.array([12, 5 << 32, 0x80000000], np.int64)
    index = PackIndex(SHA1, names, np.arange(3, dtype=np.uint32), offsets, bytes(20))
    assert parse_index(written(index), SHA1, 6 << 32).offsets.tolist() == offsets.tolist()


@pytest.mark.parametrize("form", OBJECT_FORMATS.values(), ids=OBJECT_FORMATS)
def test_no_objects(form: ObjectFormat) -> None:
    index = PackIndex(form, np.empty((0, form.size), np.uint8), *_none(), pack_hash=bytes(form.size))
    assert len(parse_index(written(index), form, 12 + form.size)) == 0


def _none() -> tuple[np.ndarray[tuple[int], np.dtype[np.uint32]], np.ndarray[tuple[int], np.dtype[np.int64]]]:
    return np.empty(0, np.uint32), np.empty(0, np.int64)


SMALL = PackIndex(
    SHA1,
    np.array([[1] * 20, [1] * 19 + [2], [200] * 20], np.uint8),
    np.array([7, 8, 9], np.uint32),
    np.array([50, 12, 90], np.int64),
    bytes(range(20)),
)
SIZE = 200


def sealed(raw: bytes) -> bytes:
    """With the hash at its end set right, so that only what is wrong inside is found."""
    hasher = SHA1.hasher()
    hasher.update(raw[:-20])
    return raw[:-20] + hasher.digest()


def changed(at: int, new: bytes) -> bytes:
    raw = written(SMALL)
    return sealed(raw[:at] + new + raw[at + len(new) :])


NAMES, OFFSETS = 1032, 1032 + 3 * 24


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not a pack index"),
        (written(SMALL)[:1000], "not a pack index"),
        (b"\xfftOc\0\0\0\3" + written(SMALL)[8:], "not a pack index"),
        (written(SMALL)[:-1] + b"\0", "own hash"),
        (written(SMALL)[:-30], "does not have"),
        (changed(1028, struct.pack(">I", 0xFFFFFFFF)), "does not have"),
        (changed(1028, struct.pack(">I", 2)), "does not have"),
        (changed(8, struct.pack(">I", 3)), "fan-out"),
        (changed(8 + 4 * 100, struct.pack(">I", 1)), "fan-out"),
        (changed(NAMES + 39, b"\1"), "in order"),
        (changed(NAMES + 39, b"\0"), "in order"),
        (changed(OFFSETS, struct.pack(">I", 11)), "do not fit"),
        (changed(OFFSETS, struct.pack(">I", 12)), "one place"),
        (changed(OFFSETS, struct.pack(">I", SIZE - 20)), "do not fit"),
        (changed(OFFSETS + 4, struct.pack(">I", 13)), "do not fit"),
        (changed(OFFSETS, struct.pack(">I", 0x80000000)), "refer to a table"),
    ],
)
def test_lies_are_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        parse_index(raw, SHA1, SIZE)


@pytest.mark.parametrize(("place", "wide"), [(1, 100), (0x7FFFFFFF, 100), (0, 1 << 63)])
def test_lies_about_large_offsets_are_refused(place: int, wide: int) -> None:
    raw = changed(OFFSETS, struct.pack(">I", 0x80000000 | place))
    with pytest.raises(Malformed, match="large offset"):
        parse_index(sealed(raw[:-40] + struct.pack(">Q", wide) + raw[-40:]), SHA1, SIZE)


def test_the_error_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "pack-x.idx").write_bytes(b"nothing")
    with pytest.raises(Malformed, match=r"pack-x\.idx"):
        read_index(tmp_path / "pack-x.idx", SHA256, 100)


@given(st.lists(st.tuples(st.integers(0, 1200), st.binary(min_size=1, max_size=9)), min_size=1, max_size=4))
def test_damage_is_refused_or_harmless(edits: list[tuple[int, bytes]]) -> None:
    """Whatever a forger writes and seals: the one error, or an index that keeps every promise."""
    raw = written(SMALL)
    for at, new in edits:
        raw = raw[:at] + new + raw[at + len(new) :]
    try:
        index = parse_index(sealed(raw), SHA1, SIZE)
    except Malformed:
        return
    assert bool(np.all(as_keys(index.names)[:-1] < as_keys(index.names)[1:]))
    assert min(index.offsets) == 12
    assert max(index.offsets) < SIZE - 20
    assert len(set(index.offsets.tolist())) == len(index)


@given(st.binary(max_size=1200))
def test_garbage_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse_index(raw, SHA1, SIZE)
    with pytest.raises(Malformed):
        parse_index(b"\xfftOc\0\0\0\2" + raw, SHA1, SIZE)


names_alike = st.lists(
    st.binary(min_size=12, max_size=12).map(lambda end: end.rjust(20, b"\5"))
    | st.binary(min_size=20, max_size=20)
    | st.just(bytes(20)),
    max_size=40,
)


@given(names_alike)
def test_names_are_put_in_order(names: list[bytes]) -> None:
    array = np.frombuffer(b"".join(names), np.uint8).reshape(len(names), 20)
    ordered = [bytes(name) for name in array[order_of_names(array)]]
    assert ordered == sorted(names)
    assert repeated(array[order_of_names(array)]) == len(names) - len(set(names))
    assert fan_out(array).tolist() == [sum(name[0] <= first for name in names) for first in range(256)]


def test_headers() -> None:
    assert read_pack_header(pack_header(2**32 - 1)) == 2**32 - 1
    for wrong in (b"", b"PACK", b"PACK\0\0\0\4\0\0\0\1", b"KCAP\0\0\0\2\0\0\0\1"):
        with pytest.raises(Malformed):
            read_pack_header(wrong)
