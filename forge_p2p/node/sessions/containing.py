"""What is done for one peer, kept from harming anybody else."""

import logging
from collections.abc import Awaitable, Callable

from forge_p2p.errors import ForgeError, PeerError
from forge_p2p.node.sessions.peer import PeerSession
from forge_p2p.wire.codes import Code

LOG = logging.getLogger("forge")

Serve = Callable[..., Awaitable[None]]


async def contain(session: PeerSession, serve: Serve, *arguments: object) -> None:
    """Runs one answer; what fails or is a defect ends that answer and nothing else."""
    await _fault(session, serve, arguments, "an answer to")


async def contain_or_end(session: PeerSession, serve: Serve, *arguments: object) -> None:
    """Runs a part of a session; what fails or is a defect ends that session and nothing else."""
    fault = await _fault(session, serve, arguments, "the session with")
    if fault:
        session.blame(PeerError(fault), Code.INTERNAL)


async def _fault(session: PeerSession, serve: Serve, arguments: tuple[object, ...], what: str) -> str:
    """Logs what went wrong here; returns what of it the peer may know, empty if nothing did."""
    try:
        await serve(session, *arguments)
    except PeerError:
        return ""  # the session's own task says what happened
    except ForgeError as error:
        LOG.error("cannot answer %s: %s", session.where, error)
        return "its store fails"
    except Exception:
        LOG.exception("a defect of Forge ended %s %s; please report it", what, session.where)
        return "a defect of this node"
    return ""
