"""A node like any other, but for what it serves: bytes of its own making, under the names that were asked for."""

import sys
from collections.abc import Sequence
from dataclasses import replace

from forge_p2p.cli import main as cli
from forge_p2p.content.codec import Codec, EncodedChunk
from forge_p2p.proto.answering import Answering

answer = Answering.answer


def lie(
    answering: Answering, stream_id: int, indexes: Sequence[int], chunks: Sequence[EncodedChunk | None], now: float
) -> None:
    """Answers with as many bytes as the truth has."""
    lies = [chunk and replace(chunk, codec=Codec.RAW, data=bytes(chunk.size)) for chunk in chunks]
    answer(answering, stream_id, indexes, lies, now)


def main() -> int:
    """`forge ARGUMENTS` with a lying session."""
    setattr(Answering, "answer", lie)  # noqa: B010 (mypy would call it a mistake, rightly)
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
