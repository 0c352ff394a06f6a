"""Every error that Forge raises on purpose, and who is to blame for it.

The class says whose fault it is and so which exit code a command ends with (`docs/errors.md` lists them); the message
names the thing, the reason and the next step. Foreign exceptions are translated at the edge that meets them. A decoder
of untrusted bytes raises `Malformed` and nothing else.
"""

from typing import ClassVar


class ForgeError(Exception):
    """Base of all: `message` is one clear line; `hint`, where there is one, says what to try next."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(ForgeError):
    """What the person typed cannot be done: a wrong path, a malformed ticket, a contradictory option."""

    exit_code = 2


class Malformed(ForgeError):
    """Bytes that came from outside do not follow the format. The one error of every decoder."""

    exit_code = 3


class HostileSnapshot(ForgeError):
    """A snapshot names something that must not be written; the message names the entry."""

    exit_code = 3


class NotFound(ForgeError):
    """The content is not here, and nobody who was asked has it."""

    exit_code = 4


class CorruptChunk(ForgeError):
    """Bytes that do not match their hash, from the disk or from a peer."""

    exit_code = 5


class StoreError(ForgeError):
    """The store cannot be used: another version, no permission, a broken index."""

    exit_code = 6


class DiskError(StoreError):
    """The operating system refused a read or a write: EIO, EROFS, EACCES."""

    exit_code = 7


class DiskFull(DiskError):
    """No space left, on the device or under the store's quota; the message names the path and the bytes needed."""

    exit_code = 8


class SourceChanged(ForgeError):
    """A file changed while it was being read; nothing was shared."""

    exit_code = 9


class PeerError(ForgeError):
    """The peer cannot be reached, went away, or broke the protocol."""

    exit_code = 10


class StreamClosed(PeerError):
    """One stream takes no more data, because the peer or this side gave it up; the connection goes on."""


class Refused(PeerError):
    """The peer answered, and said no: ticket expired, revoked, or not its own."""

    exit_code = 11


class Conflict(ForgeError):
    """Somebody else moved the name first; the message says who. Nothing was overwritten."""

    exit_code = 12


class Untrusted(ForgeError):
    """What was signed is not to be believed: forged, by somebody without the right, rolled back, forked."""

    exit_code = 13


class BucketError(ForgeError):
    """A bucket cannot be reached, or answers what makes no sense; the message names it, the object and the reason."""

    exit_code = 14


class NoSuchObject(BucketError):
    """The bucket has no object of this key."""


class BucketRefused(BucketError):
    """The bucket said no: wrong or expired credentials, a wrong clock, no right to do this, no bucket of this name."""

    exit_code = 15


class InternalError(ForgeError):
    """A defect of Forge itself. 70 is EX_SOFTWARE of sysexits.h."""

    exit_code = 70


class Interrupted(ForgeError):
    """Stopped by a signal; everything received so far is kept and the same command resumes."""

    exit_code = 130
