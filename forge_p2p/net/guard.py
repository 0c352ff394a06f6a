"""What a QUIC engine raises ends one connection and nothing else."""

from collections.abc import Callable
from types import TracebackType

from forge_p2p.errors import PeerError
from forge_p2p.net.engine import EngineStuck


class Guard:
    """Around every call of an engine; `abandon` is told why the connection has to end. A panic of compiled code is a
    `BaseException`. One object for all calls: a generator in its place took 5 % of a busy node's processor time."""

    __slots__ = ("_abandon",)

    def __init__(self, abandon: Callable[[PeerError], None]) -> None:
        self._abandon = abandon

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        if error is None or isinstance(error, PeerError | KeyboardInterrupt | SystemExit):
            return False
        self._abandon(PeerError(str(error) if isinstance(error, EngineStuck) else f"the QUIC engine failed: {error!r}"))
        return True
