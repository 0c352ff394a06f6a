"""What is played out in a lab: who does what, and what is measured."""

from simulations.labs.plays.base import Play
from simulations.labs.plays.meet import meet
from simulations.labs.plays.spread import spread
from simulations.labs.plays.warm import warm

PLAYS: dict[str, Play] = {
    "spread": Play(
        spread,
        {
            "last": "last agent ÷ one copy",
            "received": "all received ÷ one copy",
            "copies": "origin, copies",
            "finished": "agents done",
            "seconds": "last, s",
            "cpu": "processor, s",
            "busy": "processors busy",
            "noise": "before",
            "peak_mb": "largest process, MB",
            "amplification": "stranger got ÷ sent",
        },
    ),
    "meet": Play(meet, {"seconds": "connected, s", "up": "both up, s", "cpu": "processor, s"}),
    "warm": Play(warm, {"seconds": "first byte, s", "worst": "worst, s", "questions": "questions a round"}),
}
