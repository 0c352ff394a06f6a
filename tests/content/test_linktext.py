"""Links as text: what was meant comes back, and each way of getting it wrong is told apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.armor import armor
from forge_p2p.content.link import CHUNK_MAX, MAX_LEVEL, MAX_SIZE, Kind, Link, Root
from forge_p2p.content.linktext import format_link, parse_link
from forge_p2p.errors import UsageError
from forge_p2p.ids import Hash

HASHES = st.binary(min_size=32, max_size=32).map(Hash)


@st.composite
def roots(draw: st.DrawFn) -> Root:
    level = draw(st.integers(0, MAX_LEVEL))
    size = draw(st.integers(0, CHUNK_MAX) if level == 0 else st.integers(CHUNK_MAX + 1, MAX_SIZE))
    return Root(draw(st.sampled_from(Kind)), Link(draw(HASHES), size, level))


ROOT = Root(Kind.TREE, Link(Hash(bytes(range(32))), 123_456_789, 2))
TEXT = format_link(ROOT)


@given(roots())
def test_round_trip(root: Root) -> None:
    text = format_link(root)
    assert text.startswith(f"f{root.kind.value}1")
    assert len(text) <= 80
    assert parse_link(text) == root


@pytest.mark.parametrize(
    "text", [TEXT.upper(), f"  {TEXT}\n", TEXT.title(), f"\t{TEXT[:30]}\r\n  {TEXT[30:]}"],
    ids=["upper", "white space", "mixed", "wrapped"],
)  # fmt: skip
def test_case_and_white_space_do_not_matter(text: str) -> None:
    assert parse_link(text) == ROOT


@pytest.mark.parametrize(
    "text", ["", " ", "hello", "https://example.org", "fticket1abc", "ftree", "fblob!", "f" * 9999]
)
def test_not_a_link(text: str) -> None:
    with pytest.raises(UsageError, match="not a link") as caught:
        parse_link(text)
    assert len(str(caught.value)) < 150


def test_another_version() -> None:
    with pytest.raises(UsageError, match="of version 2, and this Forge reads version 1"):
        parse_link(TEXT.replace("ftree1", "ftree2"))


@pytest.mark.parametrize("length", range(len("ftree1"), len(TEXT)))
def test_truncated_anywhere(length: int) -> None:
    with pytest.raises(UsageError, match="truncated: its end is missing"):
        parse_link(TEXT[:length])


@pytest.mark.parametrize("place", range(len("ftree1"), len(TEXT)))
def test_mistyped_anywhere(place: int) -> None:
    other = "a" if TEXT[place] != "a" else "b"
    reason = "truncated|mistyped" if place < len("ftree1") + 4 else "mistyped"  # the first four hold the length
    with pytest.raises(UsageError, match=reason):
        parse_link(TEXT[:place] + other + TEXT[place + 1 :])


@pytest.mark.parametrize("text", [TEXT + "a", TEXT + "aaaa", TEXT + TEXT, TEXT.replace("ftree", "fblob")])
def test_changed_otherwise(text: str) -> None:
    with pytest.raises(UsageError, match="mistyped"):
        parse_link(text)


@pytest.mark.parametrize("char", "0189.-ä=")
def test_characters_that_no_link_has(char: str) -> None:
    with pytest.raises(UsageError, match=f"it has '{char}' in it"):
        parse_link(TEXT[:20] + char + TEXT[21:])


BODY = bytes((2, *range(32)))


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            BODY[:-1],
            BODY,
            BODY + b"\x05",
            b"\x00" + BODY[1:] + b"\x01\x00\x04",
            b"\x07" + BODY[1:] + b"\x00\x00\x10",
        ),
        *(BODY + b"\x15\xcd\x5b\x07\x00", BODY + (MAX_SIZE + 1).to_bytes(7, "little"), BODY + b"\xff" * 100),
    ],
)
def test_a_right_checksum_over_nonsense(body: bytes) -> None:
    with pytest.raises(UsageError, match="impossible"):
        parse_link(armor("ftree", 1, body))


@given(st.text(max_size=120))
def test_any_text_behind_the_name(text: str) -> None:
    with pytest.raises(UsageError):
        parse_link("fblob1" + text)
