"""Small contents from a peer on the LAN that is already connected: lookup and first byte."""

import statistics
import time
from contextlib import ExitStack
from pathlib import Path

from simulations.labs.plays.base import Occasion
from simulations.labs.plays.outcome import Turn
from simulations.labs.systems import forge
from simulations.labs.topology import open_lab

PIECE = 64 * 1024
PAUSE = 0.3
"""Seconds between two questions: what is announced about the content has spread."""


def warm(occasion: Occasion) -> Turn:
    """An agent asks for contents that the origin shares, one after the other; each is new to it, the way to the peer is
    not. `seconds` is the median, `worst` the longest."""
    scenario = occasion.scenario
    pieces = _pieces(occasion.content, occasion.folder / "pieces")
    with ExitStack() as opened:
        lab = opened.enter_context(open_lab(scenario.cables(), occasion.folder))
        origin, agent = lab.hosts["origin"], lab.hosts["agent1"]
        token = forge.found_network(origin, lan=scenario.lan)
        forge.join([agent], token, lan=scenario.lan)
        forge.up(agent)
        forge.wait_for_peers(agent, 1)
        links = [forge.run(origin, "share", "--network", forge.NETWORK, str(piece)) for piece in pieces]
        times, failures = [], {}
        for piece, link in zip(pieces, links, strict=True):
            time.sleep(PAUSE)
            seconds, data = forge.first_byte(agent, link)
            times.append(seconds)
            if data != piece.read_bytes():
                failures[piece.name] = f"{len(data)} bytes came, and not those that were shared"
        times = times[1:]  # the first one opens the store and compiles what it uses
    return Turn({"seconds": statistics.median(times), "worst": max(times), "questions": len(times)}, failures)


def _pieces(content: Path, folder: Path) -> list[Path]:
    folder.mkdir()
    data = content.read_bytes()
    made = []
    for number, begin in enumerate(range(0, len(data) - PIECE + 1, PIECE)):
        made.append(folder / f"piece{number}")
        made[-1].write_bytes(data[begin : begin + PIECE])
    return made
