"""Paths survive being text."""

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forge_p2p.content.pathtext import path_bytes, path_text

PATHS = st.one_of(st.binary(), st.text(alphabet="\\x5cé0\n\x1b\u202e", max_size=12).map(str.encode))


@given(PATHS)
@example(b"\\x41")
@example(b"\\\xff")
@example(b"\\x5c")
@example(b"\\x\\x41")
@example(b"\\x4\xff1")
def test_round_trip(path: bytes) -> None:
    text = path_text(path)
    assert path_bytes(text) == path
    assert text.isprintable()
    assert msgspec.json.decode(msgspec.json.encode(text)) == text


@given(PATHS, PATHS)
def test_different_paths_read_differently(one: bytes, other: bytes) -> None:
    assert (path_text(one) == path_text(other)) == (one == other)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b"src/main.py", "src/main.py"),
        ("Grüße aus Köln".encode(), "Grüße aus Köln"),
        (b"back\\slash", "back\\slash"),
        (b"caf\xe9", "caf\\xe9"),
        (b"two\nlines", "two\\x0alines"),
        (b"\x1b[31mred", "\\x1b[31mred"),
        (b"name\\x41", "name\\x5cx41"),
    ],
)
def test_forms(path: bytes, text: str) -> None:
    assert path_text(path) == text
    assert path_bytes(text) == path


def test_arguments_of_the_command_line() -> None:
    assert path_bytes(b"caf\xe9".decode("utf-8", "surrogateescape")) == b"caf\xe9"
