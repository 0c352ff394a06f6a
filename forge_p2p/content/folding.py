"""Names that some file systems take for one and the same."""

import unicodedata


def fold(path: bytes) -> str:
    """Equal for paths that a file system without case, or with one normal form, may take for the same."""
    text = unicodedata.normalize("NFD", path.decode("utf-8", "surrogateescape"))
    return unicodedata.normalize("NFC", text.casefold())
