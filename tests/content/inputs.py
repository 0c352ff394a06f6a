"""Contents that every run of the tests makes alike."""

import random


def noise(size: int, seed: int = 0) -> bytes:
    """Incompressible bytes."""
    return random.Random(seed).randbytes(size)


def prose(size: int, seed: int = 0) -> bytes:
    """Text of random words, which compresses to a third or so."""
    source = random.Random(seed)
    words = [source.randbytes(source.randrange(1, 6)).hex() for _ in range(500)]
    text: list[str] = []
    length = 0
    while length < size:
        word = words[int(source.random() ** 2 * len(words))]
        text.append(word)
        length += len(word) + 1
    return " ".join(text).encode()[:size].ljust(size)
