"""The commands, as people and scripts use them: real processes, real nodes on loopback, real files."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from forge_p2p.content.ticket import format_ticket, parse_ticket
from forge_p2p.node.results import RESULT_TYPES, UpResult
from simulations.versus.inputs import check_same
from tests.cli.harness import COMMAND, environment, forge

NAMES = ["plain.txt", "sub/deep/file", "Grüße/ß", "with space", "-dash", "new\nline"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small directory with names of every sort, an empty folder, an executable and a symlink."""
    folder = tmp_path / "source"
    for number, name in enumerate(NAMES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"content {number}\n".encode() * (1 + 10_000 * number))
    (folder / "empty").mkdir()
    (folder / "plain.txt").chmod(0o755)
    (folder / "link").symlink_to("sub/deep/file")
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9")).write_bytes(b"latin")
    return folder


@pytest.fixture
def node(home: Path) -> Iterator[Path]:
    """A node in the background; its folder."""
    started = forge(home, "--json", "up", "--detach", "--listen", "127.0.0.1:0")
    assert started.returncode == 0, started.stderr
    yield home
    forge(home, "down")


def last_line(result: "subprocess.CompletedProcess[str]") -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[-1]


def told(result: "subprocess.CompletedProcess[str]", operation: str) -> Any:
    """The one JSON line, checked against the operation's result type."""
    assert result.returncode == 0, result.stderr
    (line,) = result.stdout.splitlines()
    msgspec.json.decode(line, type=RESULT_TYPES[operation], strict=True)
    return json.loads(line)


def test_add_ls_cat_get_by_link_without_a_node(home: Path, source: Path, tmp_path: Path) -> None:
    added = forge(home, "add", str(source))
    link = last_line(added)
    assert added.stdout == f"{link}\n", "the link is all that standard output holds"
    assert link.startswith("ftree1")
    assert "7 files" in added.stderr

    listed = forge(home, "ls", link).stdout.splitlines()
    assert {"plain.txt", "sub/", "sub/deep/", "empty/", "caf\\xe9", "new\\x0aline", "link"} <= set(listed)
    long = forge(home, "ls", "-l", link, "sub").stdout
    assert "-rw-r--r--" in long
    assert "sub/deep/file" in long
    assert "plain.txt" not in long
    for name, content in (("caf\\xe9", b"latin"), ("plain.txt", b"content 0\n"), ("new\\x0aline", None)):
        shown = subprocess.run(
            [*COMMAND, "cat", link, name], env=environment(home), capture_output=True, timeout=60, check=True
        )
        assert shown.stdout == (content if content is not None else (source / "new\nline").read_bytes())

    got = forge(home, "get", link, str(tmp_path / "copy"))
    assert got.returncode == 0
    assert f"{tmp_path}/copy: 7 files" in got.stdout
    check_same(source, tmp_path / "copy")


def test_share_and_get_over_the_network(node: Path, source: Path, tmp_path: Path) -> None:
    ticket = last_line(forge(node, "share", str(source)))
    other = tmp_path / "other"
    first = told(forge(other, "get", ticket, str(tmp_path / "copy"), "--json"), "get")
    check_same(source, tmp_path / "copy")
    assert first["files"] == 7
    assert first["wire_received"] > 0
    assert first["peer"]

    (source / "plain.txt").write_bytes(b"changed")
    again = last_line(forge(node, "-q", "share", str(source)))
    second = told(forge(other, "--json", "get", again, str(tmp_path / "copy")), "get")
    check_same(source, tmp_path / "copy")
    assert second["unchanged"] == 6
    assert second["wire_received"] < first["wire_received"]


def test_a_single_file(node: Path, tmp_path: Path) -> None:
    file = tmp_path / "file.bin"
    file.write_bytes(os.urandom(1_000_000))
    ticket = last_line(forge(node, "share", str(file)))
    assert forge(tmp_path / "other", "get", ticket, str(tmp_path / "copy.bin")).returncode == 0
    assert (tmp_path / "copy.bin").read_bytes() == file.read_bytes()


def test_shares_are_listed_and_ended(node: Path, source: Path, tmp_path: Path) -> None:
    ticket = last_line(forge(node, "share", str(source), "--expires", "1h"))
    (entry,) = told(forge(node, "shares", "--json"), "shares")["shares"]
    assert entry["path"] == str(source)
    assert 3500 < entry["expires"] - time.time() <= 3600
    assert "expires in" in forge(node, "shares").stdout
    assert forge(node, "unshare", str(source)).returncode == 0
    assert forge(node, "shares").stdout == ""
    refused = forge(tmp_path / "other", "get", ticket, str(tmp_path / "copy"))
    assert refused.returncode == 11
    assert len(refused.stderr.splitlines()) <= 2
    assert not (tmp_path / "copy").exists() or not any((tmp_path / "copy").iterdir())


def test_expired_ticket(node: Path, source: Path, tmp_path: Path) -> None:
    ticket = last_line(forge(node, "share", str(source), "--expires", "1s"))
    time.sleep(2.1)
    refused = forge(tmp_path / "other", "get", ticket, str(tmp_path / "copy"))
    assert refused.returncode == 11
    assert "expired" in refused.stderr


def test_tickets_that_are_not_right(node: Path, source: Path, tmp_path: Path) -> None:
    ticket = last_line(forge(node, "share", str(source)))
    for wrong in (ticket[:-20], ticket[:40] + ("q" if ticket[40] != "q" else "p") + ticket[41:], "hello"):
        result = forge(tmp_path / "other", "get", wrong, str(tmp_path / "copy"))
        assert result.returncode == 2
        assert result.stderr.startswith("forge: error: ")
        assert len(result.stderr.splitlines()) <= 2


def test_ticket_of_a_node_that_is_gone(home: Path, source: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.toml").write_text("[net]\ndial_timeout = 0.5\n")
    with sharing(home, source) as (process, ticket):
        pass
    assert process.returncode == 0
    result = forge(tmp_path / "other", "get", ticket, str(tmp_path / "copy"))
    assert result.returncode == 10
    assert result.stderr.startswith("forge: error: ")


@contextmanager
def sharing(home: Path, source: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """`forge share` in the foreground, until interrupted."""
    home.mkdir()
    (home / "config.toml").write_text('listen = "127.0.0.1:0"\n')
    process = subprocess.Popen(
        [*COMMAND, "share", str(source)],
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def test_share_in_the_foreground(home: Path, source: Path, tmp_path: Path) -> None:
    with sharing(home, source) as (process, ticket):
        assert ticket.startswith("fticket1")
        assert parse_ticket(format_ticket(parse_ticket(ticket))) == parse_ticket(ticket)
        assert forge(tmp_path / "other", "get", ticket, str(tmp_path / "copy")).returncode == 0
        running = told(forge(home, "status", "--json"), "status")
        assert running["running"]
        assert running["pid"] == process.pid
    assert process.returncode == 0
    check_same(source, tmp_path / "copy")


def test_interrupt_before_anything_was_shared(home: Path, tmp_path: Path) -> None:
    big = tmp_path / "big"
    with big.open("wb") as file:
        for _ in range(64):
            file.write(os.urandom(4 * 2**20))
    process = subprocess.Popen([*COMMAND, "share", str(big)], env=environment(home), stdout=subprocess.PIPE, text=True)
    while not (home / "control.sock").exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "")


def test_life_of_a_node(home: Path) -> None:
    started = forge(home, "--json", "up", "--detach", "--listen", "127.0.0.1:0")
    up = msgspec.json.decode(started.stdout, type=UpResult)
    assert up.addresses
    status = told(forge(home, "status", "--json"), "status")
    assert (status["running"], status["pid"], status["node_id"]) == (True, up.pid, up.node_id)
    assert status["addresses"] == up.addresses

    second = forge(home, "up", "--detach")
    assert second.returncode == 6
    assert "already up" in second.stderr
    assert "already up" in forge(home, "up").stderr

    assert forge(home, "down").stdout == f"process {up.pid} has stopped\n"
    assert forge(home, "down").returncode == 4
    stopped = told(forge(home, "status", "--json"), "status")
    assert (stopped["running"], stopped["node_id"]) == (False, up.node_id)
    again = forge(home, "up", "--detach", "--listen", "127.0.0.1:0")
    assert again.returncode == 0, again.stderr
    assert f"node {up.node_id} is up" in again.stdout
    assert forge(home, "down").returncode == 0


def test_a_port_that_is_taken(node: Path, tmp_path: Path) -> None:
    (address,) = told(forge(node, "status", "--json"), "status")["addresses"]
    port = address.rpartition(" ")[2]
    for extra in ([], ["--detach"]):
        result = forge(tmp_path / "other", "up", "--listen", f"127.0.0.1:{port}", *extra)
        assert result.returncode != 0
        assert port in result.stderr
        assert len(result.stderr.splitlines()) <= 2


def test_store_upkeep(home: Path, source: Path) -> None:
    link = last_line(forge(home, "add", str(source)))
    stat = told(forge(home, "store", "stat", "--json"), "store_stat")
    assert stat["store"]["chunks"] >= 7
    assert any(pin["link"] == link for pin in stat["pins"])
    assert told(forge(home, "store", "verify", "--json"), "store_verify")["corrupt"] == []
    assert told(forge(home, "store", "gc", "--json"), "store_gc")["collected"] == 0
    assert told(forge(home, "store", "rebuild", "--json"), "store_rebuild")["lost"] == []
    for words in ("stat", "verify", "gc", "rebuild"):
        plain = forge(home, "store", words)
        assert (plain.returncode, bool(plain.stdout)) == (0, True), plain.stderr
    assert "plain.txt" in forge(home, "ls", link).stdout


def test_json_of_the_others(home: Path, source: Path) -> None:
    link = told(forge(home, "add", str(source), "--json"), "add")["link"]
    entries = told(forge(home, "ls", link, "--json"), "ls")["entries"]
    assert {entry["kind"] for entry in entries} == {"file", "directory", "symlink"}
    assert "caf\\xe9" in {entry["path"] for entry in entries}


def test_what_is_not_there(home: Path, source: Path, tmp_path: Path) -> None:
    link = last_line(forge(home, "add", str(source)))
    missing = forge(home, "add", str(tmp_path / "nowhere"))
    assert missing.returncode == 2
    assert f"{tmp_path}/nowhere" in missing.stderr
    inside = forge(home, "cat", link, "no/such/file")
    assert inside.returncode == 4
    assert "no/such/file" in inside.stderr
    elsewhere = forge(tmp_path / "other", "get", link, str(tmp_path / "copy"))
    assert elsewhere.returncode == 4


def test_reader_of_cat_that_goes_away(home: Path, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(os.urandom(8 * 2**20))
    link = last_line(forge(home, "add", str(big)))
    command = " ".join([*COMMAND, "cat", link])
    script = f"{command} | head -c 10 > /dev/null; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(
        ["bash", "-c", script], env=environment(home), capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout == "141\n"
    assert result.stderr == ""


def test_what_is_in_the_way_is_named_and_kept(home: Path, source: Path, tmp_path: Path) -> None:
    link = last_line(forge(home, "add", str(source)))
    (tmp_path / "copy" / "plain.txt").mkdir(parents=True)
    (tmp_path / "copy" / "plain.txt" / "mine").write_bytes(b"kept")
    result = forge(home, "get", link, str(tmp_path / "copy"))
    assert result.returncode == 2
    assert "plain.txt" in result.stderr
    assert (tmp_path / "copy" / "plain.txt" / "mine").read_bytes() == b"kept"
