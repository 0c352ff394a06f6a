import random

import pytest

from forge_p2p.errors import Malformed
from forge_p2p.wire.frames import FrameReader
from tests.wire.fuzz_frames import Target, fuzz, mutated, seeds


def test_twenty_thousand_inputs() -> None:
    fuzz(20_000, seed=random.SystemRandom().randrange(2**32))


@pytest.mark.soak
def test_a_million_inputs() -> None:
    fuzz(1_000_000, seed=random.SystemRandom().randrange(2**32))


def test_inputs_are_neither_all_good_nor_all_bad() -> None:
    """Else nothing would be tested: about half of what is thrown must get through."""
    rng = random.Random(1)
    refused = 0
    for _ in range(1000):
        try:
            FrameReader().feed(mutated(rng, seeds())[2:])
        except Malformed:
            refused += 1
    assert 200 < refused < 800


def test_targets_take_any_bytes() -> None:
    target = Target()
    for data in (b"", b"\x00", b"\xff\xff", *(bytes([who, 5]) + seed for who in range(256) for seed in seeds())):
        target(data)
