"""Whom a session reports to; the interfaces between `peer` and those who ask, serve and follow; and what a fetch asks
for chunks, be it a session with a peer or a bucket."""

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Protocol

import trio

from forge_p2p.content.codec import EncodedChunk
from forge_p2p.content.delta import DeltaChunk
from forge_p2p.errors import ForgeError
from forge_p2p.ids import Hash, NodeId
from forge_p2p.proto import outputs
from forge_p2p.proto.hints import Hints
from forge_p2p.wire import messages
from forge_p2p.wire.codes import Code

if TYPE_CHECKING:
    from forge_p2p.node.sessions.peer import PeerSession


class ChunkSource(Hashable, Protocol):
    """What may be asked for chunks. `ended` is set when it can be asked no more; `reason` then says why."""

    @property
    def where(self) -> str:
        """What it is, for people."""

    @property
    def peer_id(self) -> NodeId | None:
        """Of a node that has said who it is."""

    @property
    def ready(self) -> trio.Event:
        """Set once `capabilities` are known."""

    @property
    def capabilities(self) -> frozenset[str]: ...

    @property
    def ended(self) -> trio.Event: ...

    @property
    def reason(self) -> ForgeError | None: ...

    async def request(
        self,
        number: int,
        hashes: Sequence[Hash],
        urgent: bool,
        handler: "RequestHandler",
        *,
        max_bytes: int,
        sparing: bool,
        hints: Hints | None,
    ) -> None:
        """See `PeerSession.request`."""

    def give_up(self, number: int) -> None:
        """Wants nothing more of a request; nothing more is reported of it."""

    def blame(self, error: ForgeError) -> None:
        """It has sent wrong bytes."""


class RequestHandler(Protocol):
    """Whom a request reports to; called from the receive loop, must not block. `number` is the caller's own."""

    def chunks(self, session: ChunkSource, number: int, chunks: Sequence[tuple[int, EncodedChunk]]) -> None: ...

    def deltas(self, session: ChunkSource, number: int, deltas: Sequence[tuple[int, DeltaChunk]]) -> None:
        """As `chunks`, where bases were named."""

    def baseless(self, session: ChunkSource, number: int, indexes: Sequence[int]) -> None:
        """The peer has these and not their bases."""

    def missing(self, number: int, indexes: Sequence[int]) -> None: ...

    def ended(self, number: int, code: Code) -> None:
        """The request is over: `Code.OK` when every index was answered; what was not may be asked for again."""


class FollowHandler(Protocol):
    """Whom a FOLLOW reports to; called from the receive loop, must not block."""

    def told(self, session: "PeerSession", message: messages.Told) -> None: ...

    def unfollowed(self, session: "PeerSession", code: Code) -> None:
        """Nothing more will be told; `Code.OK`: the peer has nothing of it, or all has been told."""


class SessionHandler(Protocol):
    """Whom a session's own events go to: the serving side."""

    def requested(self, session: "PeerSession", request: outputs.RequestReceived) -> None: ...

    def cancelled(self, session: "PeerSession", request_id: int) -> None: ...

    def gone(self, session: "PeerSession") -> None: ...

    def queried(self, session: "PeerSession", query: outputs.HaveQueryReceived) -> None: ...

    def authorization_needed(self, session: "PeerSession", client_id: NodeId, credentials: bytes) -> None: ...


class MemberHandler(Protocol):
    """Whom what a member says goes to; called from the receive loop, must not block."""

    def asked(self, session: "PeerSession", query: outputs.QueryReceived) -> None: ...

    def followed(self, session: "PeerSession", follow: outputs.FollowReceived) -> None: ...

    def told_news(self, session: "PeerSession", news: outputs.NewsReceived) -> None: ...

    def unfollowed(self, session: "PeerSession", request_id: int) -> None: ...

    def gone(self, session: "PeerSession") -> None: ...

    async def admit(self, session: "PeerSession", client_id: NodeId, credentials: bytes) -> None:
        """Decides about a client that shows that it is a member."""
