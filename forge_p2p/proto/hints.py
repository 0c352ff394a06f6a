"""What an asker says of bases, and what an answerer makes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from forge_p2p.content.codec import EncodedChunk
from forge_p2p.content.delta import DeltaChunk
from forge_p2p.ids import Hash

DELTA = "delta"
"""Capability: the node answers with deltas where a base is named."""


@dataclass(frozen=True, slots=True)
class Hints:
    """By index within a request. `bases`: chunks that the asker has; `None`, on the answering side, for one that the
    asker may not know of here. `signatures`: of bases that the answerer lacks. `signs`: see `wire.messages.Want`."""

    bases: Mapping[int, Hash | None] = field(default_factory=dict)
    signatures: Mapping[int, bytes] = field(default_factory=dict)
    signs: bool = False

    def __contains__(self, index: int) -> bool:
        return index in self.bases or index in self.signatures


class Lacking(Enum):
    """An answer without the chunk."""

    BASE = "the chunk is here, its base is not"


Answer = EncodedChunk | DeltaChunk | Lacking | None
"""What is answered to one index; `None`: it is not here."""
