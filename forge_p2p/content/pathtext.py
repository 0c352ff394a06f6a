r"""Paths as text that fits one line of a terminal and of JSON, and back without loss.

A path is any bytes but NUL. Its text form is its UTF-8 reading, with `\xNN` for each byte that is not UTF-8 or not
printable (so that no name can draw on a terminal or break a line) and `\x5c` for a backslash that would otherwise read
as such an escape. Nearly every path is its own text form.
"""

import re

_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")


def path_text(path: bytes) -> str:
    """The text form of `path`. `path_bytes` takes it back to the same bytes."""
    text = path.decode("utf-8", "surrogateescape")
    if text.isprintable() and "\\x" not in text:
        return text
    literal = _ESCAPE.sub(r"\\x5cx\1", text)
    return "".join(char if char.isprintable() else _escaped(char) for char in literal)


def path_bytes(text: str) -> bytes:
    """The path that `text` is the text form of. Surrogate escapes, as in `sys.argv`, are bytes too."""
    plain = text.encode("utf-8", "surrogateescape")
    if b"\\x" not in plain:
        return plain
    return re.sub(rb"\\x([0-9a-f]{2})", lambda match: bytes([int(match[1], 16)]), plain)


def _escaped(char: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))
