"""What the name of a ref may be: one or more words with slashes between them, as `nightly` or `assets/textures`.

A name is typed, shown, sorted and made part of keys and object names, so there is one spelling of it only (Unicode's
form NFC) and nothing in it that a terminal, a shell or a URL would take for something else.
"""

import re
import unicodedata
from typing import Final

from forge_p2p.errors import UsageError

NAME_BYTES: Final = 200
"""In UTF-8. A key of the database and a pin's name have to hold it."""

_WORD = re.compile(r"[^/@\\:*?\"<>|\s]+")


def fault_of(name: str) -> str:
    """What is wrong with a name, in words; empty if nothing is."""
    if not name:
        return "it is empty"
    if len(name) > NAME_BYTES or len(name.encode("utf-8", "surrogatepass")) > NAME_BYTES:
        return f"it has more than {NAME_BYTES} bytes"
    if not name.isprintable():
        return "it has characters that cannot be printed"
    if unicodedata.normalize("NFC", name) != name:
        return "it is not in Unicode's form NFC"
    for word in name.split("/"):
        if not word:
            return "it begins or ends with a slash, or has two in a row"
        if _WORD.fullmatch(word) is None:
            return 'it has white space or one of @ \\ : * ? " < > | in it'
        if word[0] in ".-" or word[-1] == ".":
            return "a part of it begins with a dot or a hyphen, or ends with a dot"
    return ""


def check_name(name: str) -> str:
    """`name` as it is kept: what a person typed, in form NFC. Raises `UsageError`."""
    normal = unicodedata.normalize("NFC", name)
    fault = fault_of(normal)
    if fault:
        raise UsageError(f"{normal[:60]!r} cannot be a name: {fault}", hint="a name is like nightly or assets/textures")
    return normal
