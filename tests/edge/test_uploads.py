"""Uploads: verified, durable, the network's, or not acknowledged."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from forge_edge.access.keys import Keys
from forge_edge.access.signing import sign_url

from forge_p2p.content.link import CHUNK_MAX, Kind, Root, hash_bytes
from forge_p2p.content.linktext import format_link, parse_link
from forge_p2p.node.home import Home
from forge_p2p.node.local import LocalNode, ignore_progress
from forge_p2p.node.membership.networks import Networks
from forge_p2p.node.operations.adding import add
from tests.cli.harness import forge
from tests.edge.conftest import said
from tests.edge.harness import Running, forge_edge, gateway
from tests.node.harness import CONFIG, node, noise, settings


@pytest.fixture(scope="module")
def writing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("writing")
    home = folder / "home"
    settings(home, 'listen = "127.0.0.1:0"\n[store]\nquota = "40MB"\nreserve = 0\n')
    said(home, "network", "create", "team")
    said(home, "network", "create", "other")
    with node(home, "up", "--no-lan"), gateway(home, folder / "gateway", quota="40MB") as running:
        running.token = forge_edge(home, "token", "--network", "team", "--write").splitlines()[-1]
        yield running


def refused(home: Path, *words: str) -> str:
    """What a command that fails says."""
    with pytest.raises(AssertionError) as failed:
        forge_edge(home, *words)
    return str(failed.value)


def link_of(content: bytes, folder: Path) -> str:
    """What Forge itself calls this content."""
    file = folder / "file"
    file.write_bytes(content)
    with LocalNode(Home(folder / "elsewhere"), CONFIG) as local:
        return add(local, path=str(file), report=ignore_progress).link


@pytest.mark.parametrize("size", [0, 1, CHUNK_MAX, CHUNK_MAX + 1, 3_000_000])
def test_a_file_of_any_size(writing: Running, tmp_path: Path, size: int) -> None:
    content = noise(size, size)
    link = link_of(content, tmp_path)
    for method, path in (("POST", "/links"), ("PUT", f"/links/{link}")):
        stored = writing.ask(path, method=method, body=content)
        assert (stored.status, stored.json) == (201, {"link": link, "size": size})
        assert stored.headers["location"] == f"/links/{link}"
    assert writing.ask(f"/links/{link}").body == content


def test_a_chunk_by_its_hash(writing: Running) -> None:
    content = noise(1, 1000)
    name = hash_bytes(content).hex()
    path = f"/blobs/{name[:2]}/{name[2:]}"
    assert writing.ask(path, method="PUT", body=content[:-1] + b"x").status == 422
    assert writing.ask(path).status == 404
    assert writing.ask(path, method="PUT", body=content).status == 201
    assert writing.ask(path).body == content
    assert writing.ask(path, method="PUT", body=bytes(CHUNK_MAX + 1)).status == 413


def test_it_belongs_to_the_tokens_network_alone(writing: Running) -> None:
    home = Path(json.loads((writing.log.parent / "seed.toml").read_text().split("home = ")[1].split("\n")[0]))
    link = writing.ask("/links", method="POST", body=b"for the team").json["link"]
    foreign = forge_edge(home, "token", "--network", "other").splitlines()[-1]
    assert writing.ask(f"/links/{link}", token=foreign).status == 404
    shares = json.loads(forge(home, "--json", "shares").stdout)["shares"]
    assert [each["network"] for each in shares if each["link"] == link] == ["team"]
    assert forge(home, "cat", str(link)).stdout == "for the team"


def test_what_is_not_what_the_url_says(writing: Running) -> None:
    content = noise(2, 500_000)
    right = parse_link(str(writing.ask("/links", method="POST", body=content).json["link"]))
    wrong = noise(3, 500_000)
    answer = writing.ask(f"/links/{format_link(right)}", method="PUT", body=wrong)
    assert answer.status == 422
    assert writing.ask(f"/links/{format_link(right)}", method="PUT", body=content[:-1]).status == 422
    other = format_link(Root(Kind.TREE, right.link))
    assert writing.ask(f"/links/{other}", method="PUT", body=content).status == 404


def test_a_body_that_stops(writing: Running) -> None:
    content = noise(4, 600_000)
    with socket.create_connection((writing.host, writing.port)) as connection:
        head = f"POST /links HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {writing.token}\r\n"
        connection.sendall(head.encode() + b"Content-Length: 600000\r\n\r\n" + content[:300_000])
    name = hash_bytes(content[:1]).hex()
    assert writing.ask(f"/blobs/{name[:2]}/{name[2:]}").status == 404
    assert writing.ask("/links", method="POST", body=content).status == 201


def test_streamed_in_chunks(writing: Running) -> None:
    content = noise(5, 2_000_000)
    connection = http.client.HTTPConnection(writing.host, writing.port, timeout=30)
    pieces = [content[start : start + 70_000] for start in range(0, len(content), 70_000)]
    connection.request(
        "POST", "/links", body=iter(pieces), headers={"Authorization": f"Bearer {writing.token}"}, encode_chunked=True
    )
    answer = connection.getresponse()
    assert answer.status == 201
    link = json.loads(answer.read())["link"]
    connection.close()
    assert writing.ask(f"/links/{link}").body == content


def test_signed_for_one_upload(writing: Running) -> None:
    home = Path(json.loads((writing.log.parent / "seed.toml").read_text().split("home = ")[1].split("\n")[0]))
    content = noise(6, 3000)
    name = hash_bytes(content).hex()
    path = f"/blobs/{name[:2]}/{name[2:]}"
    signed = forge_edge(home, "sign", "--method", "PUT", "--network", "other", path)
    assert writing.ask(signed, token="").status == 403
    assert writing.ask(signed, method="PUT", body=content, token="").status == 201
    assert writing.ask(path).status == 404, "it is the other network's"
    foreign = forge_edge(home, "token", "--network", "other").splitlines()[-1]
    assert writing.ask(path, token=foreign).body == content


def test_an_upload_goes_into_no_network_that_nobody_named(writing: Running) -> None:
    home = Path(json.loads((writing.log.parent / "seed.toml").read_text().split("home = ")[1].split("\n")[0]))
    content = noise(8, 3000)
    name = hash_bytes(content).hex()
    path = f"/blobs/{name[:2]}/{name[2:]}"
    assert "say which with --network" in refused(home, "sign", "--method", "PUT", path)
    assert "only an upload" in refused(home, "sign", "--network", "team", path)
    keys, soon = Keys(Home(home)), int(time.time()) + 60
    assert writing.ask(sign_url(keys, "PUT", path, soon), method="PUT", body=content, token="").status == 404
    team, other = sorted(Networks.on_disk(Home(home)).all(), key=lambda each: each.name, reverse=True)
    signed = sign_url(keys, "PUT", path, soon, team.network)
    for wrong in (
        signed.replace(team.network.hex(), other.network.hex()),
        signed.replace(f"&network={team.network.hex()}", ""),
        signed + f"&network={other.network.hex()}",
    ):
        assert writing.ask(wrong, method="PUT", body=content, token="").status == 403
    assert writing.ask(signed, method="PUT", body=content, token="").status == 201
    assert writing.ask(path).body == content


def test_no_room(writing: Running) -> None:
    answer = writing.ask("/links", method="POST", body=noise(7, 60_000_000))
    assert answer.status == 507
    assert b"/" not in answer.body.replace(b"507 ", b""), "no path of the machine"
    small = writing.ask("/links", method="POST", body=b"small things still fit")
    assert small.status == 201
