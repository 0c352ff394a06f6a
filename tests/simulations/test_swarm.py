"""Small plays of the swarm: the bars of the large ones hold, and the same seed plays the same."""

from dataclasses import replace

import pytest

from simulations.swarm.__main__ import main
from simulations.swarm.play import Outcome, Play, Scenario
from simulations.swarm.scenarios import CROWD, LAB, SCENARIOS, Bars

SMALL = replace(LAB, name="small", agents=6, size=20_000_000)
"""A tenth of the lab's content, so that what takes a fixed time counts ten times as much."""


def play(scenario: Scenario, seed: int = 1) -> Outcome:
    return Play(scenario, seed).run()


def test_agents_that_start_together_cost_the_origin_one_copy() -> None:
    outcome = play(SMALL)
    assert outcome.finished == 6
    assert outcome.copies < 1.05
    assert outcome.ratio < 1.25


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_bad_day(seed: int) -> None:
    """Two are killed, one lies, one is silent, one is slow. That all others finish the play itself checks, too."""
    scenario = replace(SMALL, agents=10, killed=2, liars=1, silent=1, slow=1)
    outcome = play(scenario, seed)
    assert outcome.finished == outcome.expected == 8
    assert outcome.copies < 2


def test_the_origin_may_go_once_its_bytes_are_out() -> None:
    assert play(replace(SMALL, origin_dies=True)).finished == 6


def test_a_crowd_of_which_few_know_the_origin() -> None:
    outcome = play(replace(CROWD, agents=60, size=150_000_000))
    assert outcome.copies < 1.2
    assert outcome.duplicates < 0.02


def test_same_seed_same_trace() -> None:
    scenario = replace(SMALL, agents=8, size=8_000_000, killed=1, liars=1)
    assert play(scenario, 5).trace == play(scenario, 5).trace
    assert play(scenario, 5).trace != play(scenario, 6).trace


def test_what_falls_short_is_said() -> None:
    outcome = play(replace(SMALL, size=2_000_000))
    verdicts = Bars(ratio=outcome.ratio - 0.01, copies=outcome.copies).verdicts([outcome])
    assert [line.split(":")[0] for line in verdicts] == ["MISSED", "reached"]


def test_every_scenario_has_its_own_name() -> None:
    assert all(scenario.name == name for name, (scenario, _) in SCENARIOS.items())


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--agents", "12", "--size", "5MB", "--seed", "3"]) == 0
    assert "12 of 12 done" in capsys.readouterr().out
