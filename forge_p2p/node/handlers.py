"""Whom a session reports to; the interfaces between `peer` and those who ask, serve and follow."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from forge_p2p.content.codec import EncodedChunk
from forge_p2p.content.delta import DeltaChunk
from forge_p2p.ids import NodeId
from forge_p2p.proto import outputs
from forge_p2p.wire import messages
from forge_p2p.wire.codes import Code

if TYPE_CHECKING:
    from forge_p2p.node.peer import PeerSession


class RequestHandler(Protocol):
    """Whom a request reports to; called from the receive loop, must not block. `number` is the caller's own."""

    def chunks(self, session: "PeerSession", number: int, chunks: Sequence[tuple[int, EncodedChunk]]) -> None: ...

    def deltas(self, session: "PeerSession", number: int, deltas: Sequence[tuple[int, DeltaChunk]]) -> None:
        """As `chunks`, where bases were named."""

    def baseless(self, session: "PeerSession", number: int, indexes: Sequence[int]) -> None:
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
