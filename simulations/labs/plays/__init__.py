"""What is played out in a lab: who does what, and what is measured."""

from simulations.labs.plays.base import Play
from simulations.labs.plays.spread import spread

PLAYS: dict[str, Play] = {
    "spread": Play(
        spread,
        {
            "last": "last agent ÷ one copy",
            "copies": "origin, copies",
            "finished": "agents done",
            "seconds": "last, s",
            "cpu": "processor, s",
            "peak_mb": "largest process, MB",
        },
    ),
}
