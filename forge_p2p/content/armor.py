"""Bytes as one word of text that survives a chat, and that can say what is wrong with it when it did not.

    name, one digit for the version, base32 of: length of body (16 bits), body, checksum (4 bytes)

Base32 (RFC 4648, lower case, no padding), because a double click selects all of it, no shell or chat changes it and it
can be dictated; upper case is read as well. The checksum begins the BLAKE3 of name, version and body, so that a word
cannot pass for one of another kind; the length tells a truncated word from a mistyped one.
"""

from base64 import b32decode, b32encode
from typing import Final

from blake3 import blake3

from forge_p2p.errors import UsageError

_LENGTH: Final = 2
_CHECKSUM: Final = 4
_ALPHABET: Final = frozenset("abcdefghijklmnopqrstuvwxyz234567")
_MAX_SHOWN: Final = 40


def armor(name: str, version: int, body: bytes) -> str:
    """The word for `body` (under 64 KiB). `name` is of lower-case letters, `version` one digit."""
    data = len(body).to_bytes(_LENGTH, "little") + body + _checksum(name, version, body)
    return f"{name}{version}{_encode(data)}"


def unarmor(text: str, names: tuple[str, ...], version: int, what: str) -> tuple[str, bytes]:
    """The name, one of `names`, and the body of a word; white space (mail wraps long words) and case do not matter.

    Raises `UsageError`, which calls the thing `what` ("link", "ticket"): it is none, is of another version, was
    truncated, or was mistyped.
    """
    word = "".join(text.split()).lower()
    name = next((name for name in names if word.startswith(name)), None)
    if name is None or not word[len(name) : len(name) + 1].isdecimal():
        shown = word if len(word) <= _MAX_SHOWN else word[:_MAX_SHOWN] + "…"
        raise UsageError(f"not a {what}: {shown!r}", hint=f"a {what} begins with {' or '.join(names)}")
    if word[len(name)] != str(version):
        raise UsageError(
            f"this {what} is of version {word[len(name)]}, and this Forge reads version {version}",
            hint="install the Forge that the sender has",
        )
    return name, _open(word[len(name) + 1 :], name, version, what)


def _open(encoded: str, name: str, version: int, what: str) -> bytes:
    wrong = next((char for char in encoded if char not in _ALPHABET), None)
    if wrong is not None:
        raise _damaged(what, f"mistyped: it has {wrong!r} in it, which no {what} has")
    data = _decode(encoded)
    end = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
    if len(data) < _LENGTH or len(data) < end + _CHECKSUM:
        raise _damaged(what, "truncated: its end is missing")
    body = data[_LENGTH:end]
    if data[end:] != _checksum(name, version, body) or _encode(data) != encoded:
        raise _damaged(what, "mistyped: its checksum does not match")
    return body


def _damaged(what: str, reason: str) -> UsageError:
    return UsageError(f"this {what} is {reason}", hint="copy it again, whole")


def _checksum(name: str, version: int, body: bytes) -> bytes:
    return blake3(f"{name}{version}".encode() + body).digest(_CHECKSUM)


def _encode(data: bytes) -> str:
    return b32encode(data).decode().rstrip("=").lower()


def _decode(encoded: str) -> bytes:
    """What the whole bytes of `encoded` say; a last character that completes no byte is dropped."""
    whole = encoded[:-1] if len(encoded) % 8 in (1, 3, 6) else encoded
    return b32decode(whole.upper() + "=" * (-len(whole) % 8))
