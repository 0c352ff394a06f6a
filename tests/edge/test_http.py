"""What needs no server: ranges, negotiation, paths, pages."""

import pytest
from forge_edge.content.pieces import raw_frames
from forge_edge.http.head import head_of
from forge_edge.http.negotiation import accepted_encodings, content_type, matches, wants_json
from forge_edge.http.ranges import RANGES_MAX, Unsatisfiable, parse_ranges
from forge_edge.http.target import BlobTarget, LinkTarget, RefTarget, parse_target, quote
from hypothesis import given
from hypothesis import strategies as st
from zstandard import ZstdDecompressor

from forge_p2p.content.link import CHUNK_MAX, Kind, Link, Root, hash_bytes
from forge_p2p.content.linktext import format_link

LINK = format_link(Root(Kind.TREE, Link(hash_bytes(b"x"), 5, 0)))
EDGES = st.integers(0, 40)


@given(st.lists(st.tuples(EDGES, EDGES | st.none()) | st.tuples(st.none(), EDGES), min_size=1, max_size=RANGES_MAX))
def test_ranges_are_what_slicing_says(specs: list[tuple[int | None, int | None]]) -> None:
    content = bytes(range(30))
    wanted: set[int] = set()
    for first, last in specs:
        if first is None:
            wanted.update(range(30)[-last:] if last else ())
        else:
            wanted.update(range(30)[first : 30 if last is None else last + 1])
    header = "bytes=" + ",".join(f"{'' if a is None else a}-{'' if b is None else b}" for a, b in specs)
    if any(a is not None and b is not None and a > b for a, b in specs):
        assert parse_ranges(header, 30) is None
    elif not wanted:
        with pytest.raises(Unsatisfiable):
            parse_ranges(header, 30)
    else:
        spans = parse_ranges(header, 30)
        assert spans is not None
        assert b"".join(content[a:b] for a, b in spans) == bytes(sorted(wanted))


@given(st.text(max_size=40))
def test_any_range_header_is_read_or_ignored(text: str) -> None:
    for header in (text, f"bytes={text}"):
        try:
            spans = parse_ranges(header, 100)
        except Unsatisfiable:
            continue
        assert spans is None or all(0 <= a < b <= 100 for a, b in spans)


def test_many_ranges_are_refused() -> None:
    with pytest.raises(Unsatisfiable):
        parse_ranges("bytes=" + ",".join(f"{each}-{each}" for each in range(RANGES_MAX + 1)), 100)


@given(st.lists(st.binary(min_size=1, max_size=20).filter(lambda part: part not in (b".", b"..")), max_size=5))
def test_paths_come_back(parts: list[bytes]) -> None:
    parts = [part for part in parts if b"/" not in part and b"\0" not in part]
    path = b"/".join(parts)
    target = parse_target(f"/links/{LINK}/{quote(path)}" if path else f"/links/{LINK}")
    assert isinstance(target, LinkTarget)
    assert target.path == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "links",
        "/links",
        "/links/",
        "//links/x",
        f"/links/{LINK}//a",
        f"/links/{LINK}/../a",
        f"/links/{LINK}/a/%2e%2e/b",
        f"/links/{LINK}/.",
        f"/links/{LINK}/a%2fb",
        f"/links/{LINK}/a%00b",
        f"/links/{LINK}/a%zz",
        f"/links/{LINK.upper()}",
        f"/links/{LINK[:-1]}",
        "/blobs/ab/cd",
        "/blobs/AB/" + "c" * 62,
        "/blobs/ab/" + "c" * 62 + "/",
        "/files/x",
        "http://elsewhere/links/x",
    ],
)
def test_everything_else_names_nothing(path: str) -> None:
    assert parse_target(path) is None


def test_forms() -> None:
    assert isinstance(parse_target("/blobs/ab/" + "c" * 62), BlobTarget)
    assert parse_target("/refs/team/site@3/a/") == RefTarget((b"team", b"site@3", b"a"), slash=True)


def test_negotiation() -> None:
    assert accepted_encodings("gzip, deflate, br, zstd") == {"gzip", "zstd"}
    assert accepted_encodings("zstd;q=0, gzip;q=0.5, gzip2") == {"gzip"}
    assert accepted_encodings("gzip;q=0.000") == set()
    assert wants_json("application/json", "")
    assert not wants_json("text/html,application/json", "")
    assert wants_json("text/html", "json")
    assert content_type(b"a/b.html") == "text/html; charset=utf-8"
    assert content_type(b"a.tar.gz") == content_type(b"\xff") == "application/octet-stream"
    assert matches('W/"a", "b"', '"a"')
    assert matches("*", '"a"')
    assert not matches('"ab"', '"a"')


@given(st.integers(0, 3 * CHUNK_MAX))
def test_raw_frames_are_zstd(size: int) -> None:
    content = bytes(size)
    assert ZstdDecompressor().decompress(b"".join(raw_frames(content)), max_output_size=max(size, 1)) == content


def test_heads() -> None:
    assert head_of(200, {"ETag": '"x"', "Forge-Ref": "team/ß@1"}, 7) == (
        'HTTP/1.1 200 OK\r\nETag: "x"\r\nForge-Ref: team/ß@1\r\nContent-Length: 7\r\n'.encode()
    )
    assert head_of(304, {"ETag": '"x"'}, 0) == b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n'


@given(st.text(), st.sampled_from("\r\n\0\x7f"), st.text())
def test_no_value_ends_its_line(before: str, end: str, after: str) -> None:
    with pytest.raises(ValueError, match="printed"):
        head_of(308, {"Location": before + end + after}, 0)
