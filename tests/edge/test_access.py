"""Who may have what: tokens, signed URLs, what is public, and that nothing else can be told apart."""

import json
import os
import time
from pathlib import Path

import pytest
from forge_edge.access.grants import Access, Grant, Unauthorized
from forge_edge.access.keys import Keys
from forge_edge.access.signing import sign_url
from forge_edge.access.tokens import Revoked, issue_token

from forge_p2p.content.link import Kind, Link, Root, hash_bytes
from forge_p2p.content.linktext import format_link, parse_link
from forge_p2p.errors import StoreError
from forge_p2p.ids import NetworkId
from forge_p2p.node.home import Home
from tests.cli.harness import forge
from tests.edge.conftest import SMALL, Edge, said
from tests.edge.harness import Reply, forge_edge
from tests.node.members_up import until

UNKNOWN = format_link(Root(Kind.BLOB, Link(hash_bytes(b"nobody has this"), 15, 0)))


def same(one: Reply, two: Reply) -> bool:
    """Whether two answers tell the same, but for when."""
    return (one.status, one.body, {**one.headers, "date": ""}) == (two.status, two.body, {**two.headers, "date": ""})


def test_without_a_credential_only_what_is_public(edge: Edge) -> None:
    assert edge.gateway.ask("/refs/team/site/small.txt", token="").body == SMALL
    answers = [
        edge.gateway.ask(path, token="")
        for path in (f"/links/{edge.link}", f"/links/{UNKNOWN}", f"/links/{edge.secret}", "/refs/team/x", "/refs/o/x")
    ]
    assert answers[0].status == 401
    assert all(same(answers[0], each) for each in answers)


def test_another_networks_content_is_as_if_there_were_none(edge: Edge) -> None:
    assert edge.gateway.ask(f"/links/{edge.secret}", token=edge.other).status == 200
    foreign = edge.gateway.ask(f"/links/{edge.secret}")
    assert foreign.status == 404
    assert same(foreign, edge.gateway.ask(f"/links/{UNKNOWN}"))
    chunk = parse_link(edge.secret).link.hash.hex()
    assert edge.gateway.ask(f"/blobs/{chunk[:2]}/{chunk[2:]}", token=edge.other).status == 200
    assert same(foreign, edge.gateway.ask(f"/blobs/{chunk[:2]}/{chunk[2:]}"))
    assert same(foreign, edge.gateway.ask("/refs/team/site/small.txt", token=edge.other))
    again = edge.gateway.ask(f"/links/{edge.secret}")
    assert same(foreign, again), "nor after its own reader has asked"


def test_tokens_that_are_none(edge: Edge) -> None:
    path = f"/links/{edge.link}/small.txt"
    assert edge.gateway.ask(path).status == 200
    keys = Keys(Home(edge.home))
    network = NetworkId(
        bytes.fromhex(str(json.loads(forge(edge.home, "--json", "network", "list").stdout)["networks"][0]["id"]))
    )
    expired, _ = issue_token(keys, network, write=False, expires=int(time.time()) - 1)
    invite = said(edge.home, "network", "invite", "--network", "team")
    flipped = edge.token[:-1] + ("a" if edge.token[-1] != "a" else "b")
    for token in (
        expired,
        invite,
        flipped,
        edge.token[:-1],
        "x",
        "fgate1",
        "fgate1" + "a" * 5000,
        "ü"[:0] + "fgate1%%%",
    ):
        answer = edge.gateway.ask(path, token=token)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Bearer realm="forge"'), token[:20]
    assert edge.gateway.ask(path, token="", Authorization="Basic dXNlcjpwYXNz").status == 401


def test_a_token_of_another_gateway(edge: Edge, tmp_path: object) -> None:
    foreign_home = edge.folder / "foreign"
    said(foreign_home, "network", "create", "team")
    token = forge_edge(foreign_home, "token").splitlines()[-1]
    assert edge.gateway.ask("/refs/team/site/small.txt", token=token).status == 401


def test_revoking(edge: Edge) -> None:
    done = forge_edge(edge.home, "token", "--network", "team", "--label", "gone")
    token = done.splitlines()[-1]
    identity = edge_id(edge, token)
    assert edge.gateway.ask("/refs/team/site/small.txt", token=token).status == 200
    forge_edge(edge.home, "revoke", identity)
    until(lambda: edge.gateway.ask("/refs/team/site/small.txt", token=token).status == 401, "it is revoked")
    assert edge.gateway.ask("/refs/team/site/small.txt").status == 200


def edge_id(edge: Edge, token: str) -> str:
    from forge_edge.access.tokens import read_token

    return read_token(Keys(Home(edge.home)), frozenset(), token).id.hex()


def test_signed_urls(edge: Edge) -> None:
    path = f"/links/{edge.link}/sub/a%20b%2520c.txt"
    signed = forge_edge(edge.home, "sign", path)
    assert edge.gateway.ask(signed, token="").body == b"spaces"
    assert edge.gateway.ask(signed, method="HEAD", token="").status == 200
    assert edge.gateway.ask(forge_edge(edge.home, "sign", f"/links/{edge.secret}"), token="").status == 200


def test_signatures_that_are_none(edge: Edge) -> None:
    keys = Keys(Home(edge.home))
    path, now = f"/links/{edge.link}/small.txt", int(time.time())
    good = sign_url(keys, "GET", path, now + 60)
    assert edge.gateway.ask(good, token="").status == 200
    signature = good.rpartition("=")[2]
    for bad in (
        sign_url(keys, "GET", path, now - 1),
        sign_url(keys, "PUT", path, now + 60),
        good.replace("small", "text"),
        good.replace(f"expires={now + 60}", f"expires={now + 6000}"),
        good.replace("key=1", "key=2"),
        good.replace("key=1", "key=-1"),
        good.replace(signature, signature[:-2] + "AA"),
        good.replace(signature, "A" * 43),
        good.replace(signature, ""),
        good.replace("expires=", "expires=x"),
    ):
        answer = edge.gateway.ask(bad, token="")
        assert answer.status == 403, bad
        assert same(answer, edge.gateway.ask(bad)), "a token beside it does not help"


def test_keys_are_rotated(edge: Edge) -> None:
    path = f"/links/{edge.link}/small.txt"
    old = forge_edge(edge.home, "sign", path)
    assert forge_edge(edge.home, "keys", "--rotate").splitlines() == ["1", "2  signs"]
    new = forge_edge(edge.home, "sign", path)
    assert "key=2" in new
    assert {edge.gateway.ask(each, token="").status for each in (old, new)} <= {200, 403}
    until(lambda: edge.gateway.ask(new, token="").status == 200, "the new key counts")
    assert edge.gateway.ask(old, token="").status == 200
    forge_edge(edge.home, "keys", "--remove", "2")
    until(lambda: edge.gateway.ask(new, token="").status == 403, "it counts no more")
    assert edge.gateway.ask(path).status == 200


def test_secrets_are_nowhere(edge: Edge) -> None:
    signed = forge_edge(edge.home, "sign", f"/links/{edge.link}/small.txt")
    for _ in range(2):
        edge.gateway.ask(signed, token="")
        edge.gateway.ask(signed)
        edge.gateway.ask(signed[:-1] + "x", token="")
    metrics = edge.gateway.ask("/metrics").body.decode()
    until(lambda: signed.partition("?")[0] in edge.gateway.said(), "it is in the log")
    for secret in (edge.token, edge.other, signed.rpartition("=")[2], signed.partition("?")[2]):
        assert secret not in edge.gateway.said()
        assert secret not in metrics
    line = json.loads(edge.gateway.log.read_text().splitlines()[-1])
    assert set(line) == {"time", "client", "who", "method", "path", "status", "bytes", "seconds", "agent"}
    command = (edge.home.parents[0] / "gateway" / "seed.toml").read_text()
    assert edge.token not in command


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_readers_token_writes_nothing(edge: Edge, method: str) -> None:
    path = "/links" if method == "POST" else f"/links/{UNKNOWN}"
    assert edge.gateway.ask(path, method=method, body=b"nobody has this").status == 404


def bearer(access: Access, text: str) -> Grant:
    return access.grant("GET", "/links/x", {}, f"Bearer {text}")


def test_revocations_that_cannot_be_read_let_nobody_in(tmp_path: Path) -> None:
    """Not once only: what was known before is out of date."""
    access = Access(Home(tmp_path), ())
    text, identity = issue_token(Keys(Home(tmp_path)), NetworkId(bytes(32)), write=False, expires=0)
    assert bearer(access, text).who == f"token {identity}"
    revoked = tmp_path / "gateway" / "revoked"
    revoked.write_text(f"{identity}\nnot an id\n")
    with pytest.raises(StoreError, match="no token's id"):
        access.refresh(now=True)
    for _ in range(3):
        with pytest.raises(StoreError, match="no token's id"):
            bearer(access, text)
    revoked.write_text(f"{identity}\n")
    with pytest.raises(Unauthorized):
        bearer(access, text)


def test_two_revocations_of_the_same_moment(tmp_path: Path) -> None:
    """A file system may give both the same time."""
    access, keys = Access(Home(tmp_path), ()), Keys(Home(tmp_path))
    tokens = [issue_token(keys, NetworkId(bytes(32)), write=False, expires=0) for _ in range(2)]
    moment = time.time_ns() + 10**10
    for _, identity in tokens:
        Revoked(Home(tmp_path)).add(identity)
        os.utime(tmp_path / "gateway" / "revoked", ns=(moment, moment))
        access.refresh(now=True)
    for text, _ in tokens:
        with pytest.raises(Unauthorized):
            bearer(access, text)
