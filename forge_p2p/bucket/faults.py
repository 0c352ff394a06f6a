"""What object stores and file systems say, as errors of ours, and which of them may pass by themselves."""

import errno
import re
from typing import Final

from forge_p2p.bucket.base import OBJECT_MAX
from forge_p2p.errors import BucketError, BucketRefused, DiskFull, ForgeError, NoSuchObject


class Passing(BucketError):
    """What may be better in a moment: too many requests, an overloaded server, a cut or stalled connection. `sure`: the
    request certainly had no effect."""

    def __init__(self, message: str, *, hint: str = "", sure: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.sure = sure


class TooLarge(BucketError):
    """An object that is none of ours, whatever its key says."""


def require_readable(key: str, size: int, where: str) -> None:
    """Raises `TooLarge` for an object that is larger than any of ours."""
    if size > OBJECT_MAX:
        raise TooLarge(f"{key} in {where} has {size} bytes, and nothing of Forge's has more than {OBJECT_MAX}")


_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z0-9.]{1,64})</Code>")

_KIND = re.compile(r"\bkind: (\w+)")

_KINDS: Final = {
    "Connect": "no connection to it",
    "Timeout": "no answer in time",
    "Interrupted": "the connection was cut",
}

_RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_UNDONE: Final = frozenset({425, 429, 503})
"""Answers after which nothing was done."""

_REASONS: Final = {
    "RequestTimeTooSkewed": (
        "this machine's clock is wrong",
        "set the clock: buckets refuse a difference of 15 minutes",
    ),
    "RequestExpired": ("this machine's clock is wrong", "set the clock: buckets refuse a difference of 15 minutes"),
    "InvalidAccessKeyId": ("the access key is not known there", "check AWS_ACCESS_KEY_ID, or the credentials file"),
    "SignatureDoesNotMatch": ("the secret key is wrong", "check AWS_SECRET_ACCESS_KEY, or the credentials file"),
    "ExpiredToken": ("the credentials have expired", "get new ones; docs/edge.md says where they are looked for"),
    "InvalidToken": ("the session token is wrong", "get new credentials; docs/edge.md says where they are looked for"),
    "NoSuchBucket": ("there is no such bucket", "make it first, or correct its name: forge edge set URL"),
    "AccessDenied": ("access denied", "these credentials need the right to list, read, write and delete there"),
    "QuotaExceeded": ("the bucket is full", "free some room (forge edge gc), or raise its quota"),
    "XMinioStorageFull": ("the bucket is full", "free some room (forge edge gc), or raise its quota"),
    "EntityTooLarge": ("the object is too large for it", "this place takes no objects of 64 MiB and cannot be used"),
}
_FULL_CODES: Final = frozenset({"QuotaExceeded", "XMinioStorageFull"})
_FULL_STATUS: Final = 507

_DENIED_HINT = "check the credentials and what they allow; docs/edge.md says where they are looked for"


def status_of(text: str) -> int:
    """The HTTP status that an error's text tells of; 0 if none."""
    found = _STATUS.search(text)
    return int(found[1]) if found else 0


def translated(error: Exception, what: str, where: str) -> ForgeError:
    """`error` of the library, met while doing `what`. Only its status and the code that the server gave are used: the
    rest may hold addresses with signatures in them."""
    text, _, debug = str(error).partition("\n\nDebug source")
    status, code = status_of(text), _CODE.search(text)
    named = code[1] if code else ""
    if named in _REASONS:
        reason, hint = _REASONS[named]
        kind = DiskFull if named in _FULL_CODES else BucketRefused
        return kind(f"cannot {what} in {where}: {reason} ({named})", hint=hint)
    said = f"it answered {status}{' ' + named if named else ''}" if status else _unanswered(text, debug)
    if status == _FULL_STATUS:
        return DiskFull(f"cannot {what} in {where}: the bucket is full ({said})", hint=_REASONS["QuotaExceeded"][1])
    if isinstance(error, FileNotFoundError) or status == 404:
        return NoSuchObject(f"cannot {what} in {where}: there is no such object")
    if status in {401, 403}:
        return BucketRefused(f"cannot {what} in {where}: {said}", hint=_DENIED_HINT)
    if status in _RETRIED or (not status and _cut(text)):
        hint = "is it reachable from here? the same command goes on where this one stopped"
        return Passing(f"cannot {what} in {where}: {said}", hint=hint, sure=status in _UNDONE)
    if "credential" in text.lower():
        return BucketRefused(f"cannot {what} in {where}: no credentials were found", hint=_DENIED_HINT)
    return BucketError(f"cannot {what} in {where}: {said}", hint="is this the address of an S3 API? forge edge check")


def _cut(text: str) -> bool:
    return "HTTP error" in text or "response body" in text


def _unanswered(text: str, debug: str) -> str:
    kind = _KIND.search(debug)
    words = _KINDS.get(kind[1] if kind else "", "no answer, or half of one")
    return words if _cut(text) else "what came is not what was asked for"


_HINTS: Final = {
    errno.EROFS: "the file system is mounted read-only",
    errno.EACCES: "check who owns the folder",
    errno.EPERM: "check who owns the folder",
    errno.EIO: "the device reports failures; check the system log",
    errno.ESTALE: "the share was mounted anew; try again",
}


def disk_error(error: OSError, what: str, where: str) -> ForgeError:
    """An `OSError` of a bucket that is a folder."""
    if isinstance(error, FileNotFoundError):
        return NoSuchObject(f"cannot {what} in {where}: there is no such object")
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DiskFull(f"cannot {what} in {where}: {error.strerror}", hint=_REASONS["QuotaExceeded"][1])
    return BucketError(f"cannot {what} in {where}: {error.strerror}", hint=_HINTS.get(error.errno or 0, ""))
