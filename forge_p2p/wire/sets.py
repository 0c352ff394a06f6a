"""The messages about sets of chunks: what a node has, about (`content.summary`), and what two differ in, exactly
(`content.reconcile`)."""

from typing import Annotated

from msgspec import Meta

from forge_p2p.content.reconcile import Answer, Question
from forge_p2p.content.summary import Update
from forge_p2p.wire import limits
from forge_p2p.wire.fields import U32, Body, FrameType, OneHash, check_prefixes

Number = Annotated[int, Meta(ge=0, le=limits.SUMMARY_NUMBER_MAX)]


class SummaryQuery(Body, frozen=True):
    """Asks for the summary of what the receiver has in the network."""

    TYPE = FrameType.SUMMARY_QUERY
    generation: Number
    """What the sender knows already; 0: nothing."""
    position: Number
    """How much of it."""
    room: U32
    """The most bytes that the answer is worth."""


class SummaryTold(Body, frozen=True):
    """What is new in it. Opaque to this layer but for its size. Made by `of`."""

    TYPE = FrameType.SUMMARY
    generation: Number
    position: Number
    summary: Annotated[bytes, Meta(max_length=limits.SUMMARY_BYTES_MAX)]
    """As `content.summary` encodes it; empty: the generation that was known goes on."""
    added: Annotated[bytes, Meta(max_length=limits.SUMMARY_ADDED_MAX)]
    """Prefixes, as HOLDINGS have them."""

    def __post_init__(self) -> None:
        check_prefixes(self.added)

    @classmethod
    def of(cls, update: Update) -> "SummaryTold":
        return cls(update.generation, update.position, update.summary, update.added)

    @property
    def update(self) -> Update:
        return Update(self.generation, self.position, self.summary, self.added)


class Reconcile(Body, frozen=True):
    """A question about the chunks that the receiver has of a root, as prefixes of 8 bytes."""

    TYPE = FrameType.RECONCILE
    root: OneHash
    question: Question


class Reconciled(Body, frozen=True):
    """What is to be said to it."""

    TYPE = FrameType.RECONCILED
    answer: Answer
