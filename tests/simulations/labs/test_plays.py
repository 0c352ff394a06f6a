"""Scenarios, from their files to the figures."""

import random
import re
from pathlib import Path

import msgspec
import pytest

from simulations.labs import report, scenario
from simulations.labs.plays import PLAYS
from simulations.labs.plays.base import Contender, Occasion
from simulations.labs.plays.outcome import Turn
from simulations.labs.plot import plot
from simulations.labs.report import PAGE, Outcome, section
from simulations.labs.scenario import Bars, Event, Scenario, When, Wire, load, names, number
from simulations.labs.systems import SYSTEMS
from simulations.labs.tools import LabError

QUICK = Scenario("Two agents", size="1MB", agents=2, origin=Wire("20mbit", "20mbit"))


def play(played: Scenario, system: str, folder: Path) -> Turn:
    content = folder / "content" / "content.bin"
    content.parent.mkdir()
    content.write_bytes(random.Random(1).randbytes(number(played.size)))
    (folder / "turn").mkdir()
    occasion = Occasion(played, Contender(SYSTEMS[system]), content, folder / "turn")
    try:
        return PLAYS[played.play].turn(occasion)
    except LabError as error:
        pytest.fail(str(error))


@pytest.mark.parametrize("name", names())
def test_scenarios_are_right(name: str) -> None:
    loaded = load(name)
    assert loaded.play in PLAYS
    assert set(loaded.systems) <= SYSTEMS.keys()
    assert loaded.cables().keys() >= {"origin", *loaded.names()}
    assert number(loaded.size) >= number(loaded.quick_size)


def test_every_scenario_has_its_place_on_the_page() -> None:
    assert sorted(re.findall(r"<!-- lab:(\w+) -->", PAGE.read_text("utf-8"))) == names()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('title = "t"\nagnets = 3', "agnets"),
        ("title = 3", "title"),
        ('title = "t"\n[[events]]\nwhen = { at = 1 }\nkill = ["agent2"]', "no host 'agent2'"),
        ("title = ", "Invalid value"),
    ],
)
def test_mistakes_are_named(text: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenario, "FOLDER", tmp_path)
    (tmp_path / "some.toml").write_text(text)
    with pytest.raises(LabError, match=problem):
        load("some")
    with pytest.raises(LabError, match="there are: some"):
        load("other")


def test_rates_and_sizes() -> None:
    assert [number(text) for text in ("1.5mbit", "200MB", "1gbit")] == [1_500_000, 200_000_000, 10**9]
    for text in ("", "10", "mbit", "3 parsecs"):
        with pytest.raises(LabError, match="is no rate or size"):
            number(text)


@pytest.mark.parametrize("system", ["http", "forge-ticket"])
def test_everybody_gets_a_copy_from_the_origin(system: str, tmp_path: Path) -> None:
    turn = play(QUICK, system, tmp_path)
    assert turn.failures == {}
    assert turn.figures["finished"] == 2
    assert 2 <= turn.figures["copies"] < 2.5
    assert turn.figures["last"] > 1
    assert turn.figures["cpu"] > 0
    assert 0 < turn.figures["busy"] <= 1
    assert 0 <= turn.figures["noise"] <= 1
    _, sent, least, mean, most = turn.timeline[-1]
    assert 2 <= sent < 2.5
    assert 0.9 < least <= mean <= most < 1.5


def test_members_of_a_network_get_their_copies_and_a_liar_does_no_harm(tmp_path: Path) -> None:
    turn = play(msgspec.structs.replace(QUICK, liars=("agent2",)), "forge", tmp_path)
    assert turn.failures == {}
    assert turn.figures["finished"] == 2
    assert 1 <= turn.figures["copies"] < 2.5


def test_a_repository_is_cloned_by_all(tmp_path: Path) -> None:
    turn = play(QUICK, "forge-git", tmp_path)
    assert turn.failures == {}
    assert turn.figures["finished"] == 2


def test_members_find_each_other_on_the_lan(tmp_path: Path) -> None:
    turn = play(load("meet"), "forge", tmp_path)
    assert turn.failures == {}
    assert 0 < turn.figures["up"] <= turn.figures["seconds"]


def test_first_bytes_from_a_peer_that_is_connected(tmp_path: Path) -> None:
    turn = play(msgspec.structs.replace(load("warm"), size="200kB"), "forge", tmp_path)
    assert turn.failures == {}
    assert turn.figures["questions"] == 2
    assert 0 < turn.figures["seconds"] <= turn.figures["worst"]


def test_a_stranger_floods(tmp_path: Path) -> None:
    flood = Event(When(at=0.0), flood=("origin",))
    turn = play(msgspec.structs.replace(QUICK, events=(flood,), flood_rate=1000, flood_seconds=1.0), "forge", tmp_path)
    assert turn.failures == {}
    assert turn.figures["flood_mb"] > 1000 * 1200 / 1e6
    assert 0 < turn.figures["amplification"] <= 3


def test_who_is_killed_is_not_waited_for(tmp_path: Path) -> None:
    kill = Event(When(at=0.0), kill=("agent1",))
    turn = play(msgspec.structs.replace(QUICK, events=(kill,)), "http", tmp_path)
    assert (turn.failures, turn.figures["finished"]) == ({}, 1)


def test_who_fails_is_named(tmp_path: Path) -> None:
    gone = Event(When(at=0.0), kill=("origin",))
    turn = play(msgspec.structs.replace(QUICK, size="4MB", events=(gone,)), "http", tmp_path)
    assert turn.failures.keys() == {"agent1", "agent2"}
    assert "curl" in turn.failures["agent1"]
    assert turn.figures["finished"] == 0


def test_who_sleeps_goes_on(tmp_path: Path) -> None:
    events = (Event(When(received=0.1), suspend=("agent1",)), Event(When(after=0.5), wake=("agent1",)))
    late = Event(When(done=1), start=("agent2",))
    turn = play(msgspec.structs.replace(QUICK, events=(*events, late)), "http", tmp_path)
    assert (turn.failures, turn.figures["finished"]) == ({}, 2)


# Reports


def turn(seconds: float, copies: float = 1.1, **failures: str) -> Turn:
    figures = {
        "seconds": seconds,
        "last": seconds / 16,
        "copies": copies,
        "finished": 8.0,
        "cpu": 3.0,
        "peak_mb": 150.0,
    }
    return Turn(figures, failures, [(0.0, 0.0, 0.0, 0.0, 0.0), (seconds, copies, 1.0, 1.0, 1.0)])


def outcome(bars: Bars, **turns: list[Turn]) -> Outcome:
    return Outcome("some", Scenario("Some scenario", bars=bars, note="a note"), 10**6, turns)


def test_section_has_medians_ranges_and_verdicts() -> None:
    text = section(outcome(Bars(last=1.25, copies=1.2), forge=[turn(16), turn(18), turn(32)], http=[turn(134, 8)]))
    assert "| forge | 1.12 (1-2) | 1.10 | 8 | 18 (16-32) | 3 |" in text
    assert "| http | 8.38 | 8 | 8 | 134 | 3 |" in text
    assert "- reached: everybody who was not killed" in text
    assert "- reached: the last agent within 1.25" in text
    assert "- reached: at most 1.2 copies" in text
    assert "a note" in text
    assert "3 rounds" in text


def test_bars_are_missed() -> None:
    late = outcome(Bars(last=1.25, copies=1.2), forge=[turn(16, 1.0), turn(32, 1.3, agent3="wrong"), turn(32, 1.3)])
    assert [line.partition(":")[0] for line in late.verdicts()] == ["MISSED"] * 3
    assert outcome(Bars(last=1.25), http=[turn(134)]).verdicts() == []


def test_goodput_is_held_against_that_without_loss() -> None:
    for seconds, verdict in ((19.0, "reached"), (21.0, "MISSED")):
        turns = {"forge": [turn(seconds)], "forge, no loss": [turn(10)]}
        assert outcome(Bars(goodput=0.5), **turns).verdicts()[1].startswith(verdict)


def test_files_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "labs.md"
    page.write_text("before\n<!-- lab:some -->\nold\n<!-- /lab -->\nafter\n")
    for name, value in (("PAGE", page), ("PLOTS", tmp_path / "plots"), ("RESULTS", tmp_path / "results")):
        monkeypatch.setattr(report, name, value)
    report.write(outcome(Bars(), forge=[turn(16)]))
    assert "old" not in page.read_text()
    assert page.read_text().endswith("after\n")
    written = msgspec.json.decode((tmp_path / "results" / "some.json").read_bytes())
    assert written["turns"]["forge"][0]["seconds"] == 16
    assert (tmp_path / "plots" / "lab-some.png").read_bytes().startswith(b"\x89PNG")
    again = report.with_earlier(outcome(Bars(), http=[turn(134)]))
    assert list(again.turns) == ["forge", "http"]
    assert again.turns["forge"] == [turn(16)]
    assert report.with_earlier(outcome(Bars(), forge=[turn(17)])).median("forge", "seconds") == 17


def test_plots_have_room_for_contenders_without_a_timeline(tmp_path: Path) -> None:
    bare = Turn(turn(5).figures)
    plot(outcome(Bars(last=1.25), forge=[turn(16)], http=[bare]), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000
