"""The runner behind `make bench`: what it reports is what was measured."""

import os
import re
import socket
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from simulations.pages import replaced
from simulations.versus import report
from simulations.versus.bench import Bar, Bench, Case, Contender, Trial, Turn, run_case
from simulations.versus.cases import CASES
from simulations.versus.inputs import Different, Inputs, check_content, check_same
from simulations.versus.island import Island
from simulations.versus.process import Failed, Service, measure
from simulations.versus.relay import CountingRelay
from simulations.versus.report import PAGE, Outcome, section
from simulations.versus.streams import StreamRelay


def opened(trial: Trial) -> Case:
    def context(_: Bench) -> AbstractContextManager[Trial]:
        return nullcontext(trial)

    return Case("some", "Some case", context)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, Inputs(tmp_path / "cache", quick=True), True, lambda line: None)


def test_turns_alternate_after_one_that_does_not_count(bench: Bench) -> None:
    calls: list[str] = []

    def contender(name: str) -> Contender:
        def turn() -> Turn:
            calls.append(name)
            return Turn(float(len(calls)))

        return Contender(name, turn, lambda: calls.append(f"prepare {name}"), lambda: calls.append(f"check {name}"))

    _, turns = run_case(bench, opened(Trial([contender("a"), contender("b")])), 3)
    assert calls[:6] == ["prepare a", "a", "check a", "prepare b", "b", "check b"]
    assert [call for call in calls[6:] if len(call) == 1] == ["a", "b", "b", "a", "a", "b"]
    assert calls[6:].count("prepare a") == 3
    assert [len(each) for each in turns.values()] == [3, 3]


def test_section_has_medians_spreads_ratios_and_verdicts() -> None:
    trial = Trial(
        [],
        10**9,
        [Bar("2 s", lambda medians: medians.seconds["forge"] <= 2), Bar("never", lambda medians: False)],
        "a note",
    )
    turns = {
        "forge": [Turn(1.0, {"peak MB": 50}), Turn(4.0, {"peak MB": 70}), Turn(2.0, {"peak MB": 60})],
        "rsync": [Turn(3.0), Turn(3.0), Turn(3.5)],
    }
    text = section(Outcome(opened(trial), trial, turns), "a machine")
    assert "| forge | 2.000 | 1.000-4.000 | 1.00 | 500 | 60 |" in text
    assert "| rsync | 3.000 | 3.000-3.500 | 1.50 | 333 |  |" in text
    assert "- reached: 2 s\n- MISSED: never" in text
    assert "a note" in text
    assert "3 rounds" in text


def test_only_the_marked_part_is_replaced() -> None:
    page = "before\n<!-- versus:a -->\nold\n<!-- /versus -->\n<!-- versus:b -->\nkept\n<!-- /versus -->\n"
    changed = replaced(page, "versus", "a", r"new \1")
    assert changed == page.replace("old", r"new \1")
    with pytest.raises(ValueError, match="no marks"):
        replaced(page, "versus", "c", "")


def test_every_case_has_its_place_on_the_page() -> None:
    assert sorted(re.findall(r"<!-- versus:(\w+) -->", PAGE.read_text("utf-8"))) == sorted(CASES)


def test_versions_and_machine_are_known() -> None:
    assert " cores, " in report.machine()
    assert report.versions()["python"].startswith("3.")


def test_measuring_a_command() -> None:
    finished = measure([sys.executable, "-c", "x = b'1' * 80_000_000; print(len(x))"])
    assert finished.output == "80000000\n"
    assert finished.peak > 80_000_000
    assert finished.cpu > 0
    with pytest.raises(Failed, match="ended with 3: told"):
        measure([sys.executable, "-c", "import sys; sys.stderr.write('told'); sys.exit(3)"])


def test_services_say_something_and_are_stopped() -> None:
    script = "import time\nprint('one', flush=True)\nprint('two', flush=True)\ntime.sleep(60)"
    with Service([sys.executable, "-c", script]) as service:
        assert service.last_line() in {"one", "two"}
    assert service.peak > 0
    with (
        Service([sys.executable, "-c", "import sys; sys.exit('no')"]) as service,
        pytest.raises(Failed, match="said nothing: no"),
    ):
        service.last_line()


def test_relay_counts_both_ways() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as node,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
    ):
        node.bind(("127.0.0.1", 0))
        node.settimeout(10)
        peer.settimeout(10)
        with CountingRelay(node.getsockname()) as relay:
            peer.sendto(b"1234567", ("127.0.0.1", relay.port))
            asked, sender = node.recvfrom(100)
            node.sendto(b"x" * 1000, sender)
            assert (asked, peer.recv(2000)) == (b"1234567", b"x" * 1000)
        assert (relay.to_node, relay.from_node) == (7, 1000)


def tree(path: Path) -> Path:
    (path / "empty").mkdir(parents=True)
    (path / "file").write_bytes(b"content")
    (path / "link").symlink_to("file")
    os.utime(path / "file", ns=(0, 1_700_000_000_123_456_789))
    return path


@pytest.mark.parametrize("damage", ["nothing", "content", "time", "mode", "link", "missing", "more", "kind"])
def test_differences_are_seen(tmp_path: Path, damage: str) -> None:
    one, other = tree(tmp_path / "one"), tree(tmp_path / "other")
    spoil(other, damage)
    if damage == "nothing":
        check_same(one, other)
    else:
        with pytest.raises(Different):
            check_same(one, other)


def spoil(path: Path, damage: str) -> None:
    file = path / "file"
    time = file.stat().st_mtime_ns
    match damage:
        case "content":
            file.write_bytes(b"Content")
            os.utime(file, ns=(0, time))
        case "time":
            os.utime(file, ns=(0, time + 1))
        case "mode":
            file.chmod(0o755)
        case "link":
            (path / "link").unlink()
            (path / "link").symlink_to("empty")
        case "missing":
            (path / "empty").rmdir()
        case "more":
            (path / "more").write_bytes(b"")
        case "kind":
            (path / "empty").rmdir()
            (path / "empty").write_bytes(b"")


def test_longer_content_is_different(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"12")
    other.write_bytes(b"123")
    for first, second in ((one, other), (other, one)):
        with pytest.raises(Different):
            check_content(first, second)


def test_big_input_is_the_same_every_time(tmp_path: Path) -> None:
    first, second = Inputs(tmp_path / "a", quick=True).big, Inputs(tmp_path / "b", quick=True).big
    assert first.stat().st_size == 32_000_000
    check_content(first, second)


def test_stream_relay_counts_both_ways_and_passes_ends_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, StreamRelay(server.getsockname()[1]) as relay:
        with socket.create_connection(("127.0.0.1", relay.port), timeout=10) as client:
            accepted, _ = server.accept()
            with accepted:
                accepted.settimeout(10)
                client.sendall(b"1234567")
                client.shutdown(socket.SHUT_WR)
                assert accepted.makefile("rb").read() == b"1234567"
                accepted.sendall(b"x" * 1_000_000)
            assert len(client.makefile("rb").read()) == 1_000_000
        assert (relay.to_server, relay.from_server, relay.bytes) == (7, 1_000_000, 1_000_007)


def test_an_island_counts_what_is_sent_in_it_and_nothing_else() -> None:
    script = (
        "import socket; a = socket.socket(type=socket.SOCK_DGRAM); a.bind(('127.0.0.1', 0));"
        "a.sendto(b'x' * 1000, a.getsockname()); a.sendto(b'y', a.getsockname())"
    )
    with Island() as island:
        measure([sys.executable, "-c", script])
        assert island.sent() == 0
        measure(island.inside([sys.executable, "-c", script]))
        assert island.sent() == 1001


@pytest.mark.parametrize("case", ["update_line", "update_disk", "pull_unchanged", "watch_edit", "first_sync"])
def test_what_arrives_is_right(bench: Bench, case: str) -> None:
    """One turn of each, on little: the case itself compares the copies."""
    trial, _ = run_case(bench, replace(CASES[case], warm=False), 1)
    assert len({contender.name for contender in trial.contenders}) == len(trial.contenders)
