"""Files and directories over HTTP, from a real gateway beside a real node."""

import gzip
import http.client
import re
from email import message_from_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zstandard import ZstdDecompressor

from forge_p2p.content.link import hash_bytes
from tests.edge.conftest import BIG, SMALL, TEXT, Edge


@pytest.mark.parametrize("name", ["big.bin", "text.txt", "small.txt", "none", "sub/a%20b%2520c.txt"])
def test_files_are_what_was_shared(edge: Edge, name: str) -> None:
    from urllib.parse import unquote

    content = (edge.files / unquote(name)).read_bytes()
    for base in (f"/links/{edge.link}", "/refs/team/site", "/refs/team/site@1"):
        got = edge.gateway.ask(f"{base}/{name}")
        assert (got.status, got.body) == (200, content)
        assert int(got.headers["content-length"]) == len(content)
        head = edge.gateway.ask(f"{base}/{name}", method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers.get("content-length", "0") == got.headers["content-length"]
        assert head.headers["etag"] == got.headers["etag"]


def test_a_files_own_link_and_chunk(edge: Edge) -> None:
    listed = edge.gateway.ask(f"/links/{edge.link}/?format=json").json["entries"]
    assert isinstance(listed, list)
    links = {each["name"]: each["link"] for each in listed}
    assert edge.gateway.ask(f"/links/{links['big.bin']}").body == BIG
    assert edge.gateway.ask(f"/links/{links['big.bin']}/x").status == 404
    name = hash_bytes(SMALL).hex()
    got = edge.gateway.ask(f"/blobs/{name[:2]}/{name[2:]}")
    assert (got.status, got.body, got.headers["etag"]) == (200, SMALL, f'"{name}"')


def test_caching(edge: Edge) -> None:
    fixed = edge.gateway.ask(f"/links/{edge.link}/small.txt")
    assert fixed.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert fixed.headers["etag"] == f'"{hash_bytes(SMALL).hex()}"'
    moving = edge.gateway.ask("/refs/team/site/small.txt", token="")
    assert moving.headers["cache-control"] == "public, max-age=5"
    assert moving.headers["forge-ref"] == "team/site@1"
    pinned = edge.gateway.ask("/refs/team/site@1/small.txt", token="")
    assert pinned.headers["cache-control"] == "public, max-age=31536000, immutable"
    for path in (f"/links/{edge.link}/small.txt", "/refs/team/site/text.txt"):
        etag = edge.gateway.ask(path).headers["etag"]
        for sent in (etag, f'"x", W/{etag}', "*"):
            again = edge.gateway.ask(path, If_None_Match=sent)
            assert (again.status, again.body) == (304, b"")
        assert edge.gateway.ask(path, If_None_Match='"x"').status == 200


@given(st.integers(0, len(BIG) + 10), st.integers(0, len(BIG) + 10))
@settings(max_examples=25)
def test_a_range_is_a_slice(edge: Edge, first: int, last: int) -> None:
    got = edge.gateway.ask(f"/links/{edge.link}/big.bin", Range=f"bytes={first}-{last}")
    if first > last:
        assert (got.status, got.body) == (200, BIG)
    elif first >= len(BIG):
        assert (got.status, got.headers["content-range"]) == (416, f"bytes */{len(BIG)}")
    else:
        assert (got.status, got.body) == (206, BIG[first : last + 1])
        assert got.headers["content-range"] == f"bytes {first}-{min(last, len(BIG) - 1)}/{len(BIG)}"


def test_several_ranges(edge: Edge) -> None:
    got = edge.gateway.ask(f"/links/{edge.link}/big.bin", Range="bytes=0-9, 1000000-2200000, -7, 5-20")
    assert got.status == 206
    assert int(got.headers["content-length"]) == len(got.body)
    parsed = message_from_bytes(b"Content-Type: " + got.headers["content-type"].encode() + b"\r\n\r\n" + got.body)
    parts = {part["Content-Range"]: part.get_payload(decode=True) for part in parsed.walk() if part["Content-Range"]}
    assert parts == {
        f"bytes 0-20/{len(BIG)}": BIG[:21],
        f"bytes 1000000-2200000/{len(BIG)}": BIG[1000000:2200001],
        f"bytes {len(BIG) - 7}-{len(BIG) - 1}/{len(BIG)}": BIG[-7:],
    }


def test_conditional_ranges(edge: Edge) -> None:
    path = f"/links/{edge.link}/big.bin"
    etag = edge.gateway.ask(path, method="HEAD").headers["etag"]
    assert edge.gateway.ask(path, Range="bytes=0-1", If_Range=etag).status == 206
    assert edge.gateway.ask(path, Range="bytes=0-1", If_Range='"old"').status == 200
    assert edge.gateway.ask(path, Range="lines=0-1").status == 200


def test_compressed_where_that_is_accepted(edge: Edge) -> None:
    path = f"/links/{edge.link}/text.txt"
    plain = edge.gateway.ask(path)
    assert "content-encoding" not in plain.headers
    packed = edge.gateway.ask(path, Accept_Encoding="zstd, gzip")
    assert packed.headers["content-encoding"] == "zstd"
    with ZstdDecompressor().stream_reader(packed.body, read_across_frames=True) as reader:
        assert reader.read() == TEXT
    zipped = edge.gateway.ask(path, Accept_Encoding="gzip")
    assert zipped.headers["content-encoding"] == "gzip"
    assert gzip.decompress(zipped.body) == TEXT
    assert len({each.headers["etag"] for each in (plain, packed, zipped)}) == 3
    noisy = edge.gateway.ask(f"/links/{edge.link}/big.bin", Accept_Encoding="zstd, gzip")
    assert "content-encoding" not in noisy.headers
    assert noisy.body == BIG


def test_directories(edge: Edge) -> None:
    moved = edge.gateway.ask(f"/links/{edge.link}/sub")
    assert (moved.status, moved.headers["location"]) == (308, "./sub/")
    page = edge.gateway.ask("/refs/team/site/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert b"&lt;b&gt;&quot;&amp;.txt" in page.body
    assert b"<b>" not in page.body
    assert b"<script" not in page.body
    for href in re.findall(r'href="([^"]+)"', page.body.decode()):
        assert edge.gateway.ask(f"/refs/team/site/{href.removeprefix('./')}").status == 200
    names = edge.gateway.ask(f"/links/{edge.link}/sub/", Accept="application/json").json
    assert names["path"] == "sub"
    assert [(each["name"], each["kind"]) for each in names["entries"]] == [  # type: ignore[attr-defined]
        ("a b%20c.txt", "file"),
        ("deep", "directory"),
    ]
    assert edge.gateway.ask(f"/links/{edge.link}/empty/?format=json").json["entries"] == []


def test_what_is_not_there(edge: Edge) -> None:
    for path in (
        f"/links/{edge.link}/nothing",
        f"/links/{edge.link}/small.txt/",
        f"/links/{edge.link}/small.txt/x",
        f"/links/{edge.link}/elsewhere",
        "/refs/team/nothing",
        "/refs/team/site@2",
        "/refs/team/site@0",
        "/refs/nobody/site",
        "/refs/team",
        "/nothing",
    ):
        assert edge.gateway.ask(path).status == 404, path


def test_one_connection_serves_many(edge: Edge) -> None:
    connection = http.client.HTTPConnection(edge.gateway.host, edge.gateway.port, timeout=30)
    for _ in range(3):
        for name, content in (("big.bin", BIG), ("small.txt", SMALL)):
            connection.request("GET", f"/refs/team/site/{name}")
            assert connection.getresponse().read() == content
    connection.close()


def test_status(edge: Edge) -> None:
    assert edge.gateway.ask("/healthz").status == 200
    assert edge.gateway.ask("/readyz").body == b"200 ready\n"
    metrics = edge.gateway.ask("/metrics")
    assert b'forge_gateway_requests_total{family="links"' in metrics.body
    assert b"forge_gateway_node_up 1.0" in metrics.body
    assert b"forge_store_chunks" in metrics.body
