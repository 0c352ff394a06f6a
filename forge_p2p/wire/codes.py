"""Why a session or a request ended: one list of numbers for frames, stream aborts and closed connections."""

from enum import IntEnum


class Code(IntEnum):
    """Below 32: about the session. From 32: about one request. Numbers are never reused."""

    OK = 0
    INTERNAL = 1
    """The sender has a bug or a broken store; not the receiver's fault."""
    LEAVING = 2
    """The sender shuts down."""
    MALFORMED = 3
    """Bytes that do not follow the format."""
    OUT_OF_STATE = 4
    """A frame that may not come at this point."""
    LIMIT = 5
    """More, larger or faster than allowed."""
    UNSOLICITED = 6
    """An answer to what was not asked, or a second one."""
    TIMEOUT = 7
    """Hello, or the beginning of a request, took too long."""
    VERSION = 8
    """No version in common."""
    IDENTITY = 9
    """Somebody is not who they say: wrong proof, or another server than the connection's."""
    DENIED = 10
    """Credentials that open nothing here."""
    EXPIRED = 11
    REVOKED = 12
    GONE = 13
    """The connection ended without a word. Not sent."""
    CORRUPT = 14
    """Bytes that do not match their hash."""

    CANCELLED = 32
    """The requester gave the request up."""
    DEADLINE = 33
    STALLED = 34
    """Nothing came for too long."""
    BUSY = 35
    """The answerer has no room; try later or elsewhere."""
    BUDGET = 36
    """The next chunk would exceed the bytes asked for."""
    STORE = 37
    """The answerer's store failed."""
    ELSEWHERE = 38
    """Was just sent to others; ask them first."""

    READ_ONLY = 48
    """The asker, or the author of what it brings, may read and not write."""
    NOT_HOME = 49
    """The log is kept elsewhere."""
    REJECTED = 50
    """A record that does not hold, or does not follow."""

    UNKNOWN = 0xFFFF
    """A number of a later version. Not sent."""

    @property
    def retryable(self) -> bool:
        """Whether it is worth asking this peer again."""
        return self in _RETRYABLE


_RETRYABLE = frozenset(
    {Code.INTERNAL, Code.LEAVING, Code.TIMEOUT, Code.GONE, Code.UNKNOWN}
    | {Code.DEADLINE, Code.STALLED, Code.BUSY, Code.BUDGET, Code.STORE, Code.ELSEWHERE}
)
