"""Adverts: what a node says of itself comes back as it was, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.errors import Malformed
from forge_p2p.ids import NodeId
from forge_p2p.net.advert import MAX_TAGS, Advert, decode_text, encode_text, host_name, instance_name, is_instance

ME = NodeId(bytes(range(32)))
TAGS = st.frozensets(st.binary(min_size=16, max_size=16), max_size=MAX_TAGS)
ADVERTS = st.builds(Advert, st.binary(min_size=32, max_size=32).map(NodeId), TAGS)


def entries(*each: bytes) -> bytes:
    return b"".join(bytes([len(one)]) + one for one in each)


ID = b"id=" + ME.hex().encode()
GOOD = (b"v=1", ID, b"tags=")


@given(ADVERTS)
def test_round_trip(advert: Advert) -> None:
    text = encode_text(advert)
    assert decode_text(text) == advert
    assert len(text) < 400
    assert is_instance(instance_name(advert.node_id))


def test_the_bytes() -> None:
    advert = Advert(ME, frozenset({b"the tag no. two.", b"the tag no. one."}))
    assert encode_text(advert) == b"\x03v=1\x43" + ID + b"\x25tags=the tag no. one.the tag no. two."
    assert instance_name(ME) == "0001020304050607._forge._udp.local."
    assert host_name(ME) == "forge-0001020304050607.local."


def test_more_networks_than_fit() -> None:
    tags = frozenset(bytes([number] * 16) for number in range(MAX_TAGS + 5))
    assert len(decode_text(encode_text(Advert(ME, tags))).tags) == MAX_TAGS


@pytest.mark.parametrize(
    "text",
    [
        entries(*GOOD),
        entries(*GOOD, b"seen=by a later version", b"flag"),
        entries(b"V=1", b"ID=" + ID[3:]),
        entries(*GOOD, b"v=2", b"tags=x"),
        entries(b"", *GOOD),
    ],
)
def test_what_rfc_6763_allows_is_read(text: bytes) -> None:
    """Unknown entries, keys in capitals, keys that come twice, empty strings."""
    assert decode_text(text) == Advert(ME, frozenset())


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\0",
        entries(ID),
        entries(b"v=2", ID),
        entries(b"v=1"),
        entries(b"v=1", ID[:-1]),
        entries(b"v=1", ID + b"0"),
        entries(b"v=1", ID.upper().replace(b"ID", b"id")),
        entries(b"v=1", b"id= " + ID[4:]),
        entries(*GOOD[:2], b"tags=123456789abcdef"),
        entries(*GOOD[:2], b"tags=" + bytes(17)),
        entries(*GOOD)[:-1],
        entries(*GOOD) + b"\xff",
        entries(*GOOD) + entries(b"x" * 255) * 6,
    ],
)
def test_what_is_no_advert_is_malformed(text: bytes) -> None:
    with pytest.raises(Malformed):
        decode_text(text)


@given(st.binary(max_size=400) | st.lists(st.binary(max_size=90)).map(lambda each: entries(*GOOD[:2], *each)))
def test_anything_is_an_advert_or_malformed(text: bytes) -> None:
    try:
        advert = decode_text(text)
    except Malformed:
        return
    assert decode_text(encode_text(advert)) == advert


@pytest.mark.parametrize(
    "name",
    [
        "",
        "_forge._udp.local.",
        "0001020304050607._forge._udp.local",
        "000102030405060._forge._udp.local.",
        "000102030405060G._forge._udp.local.",
        "0001020304050607._FORGE._udp.local.",
        "٠٠٠١٠٢٠٣٠٤٠٥٠٦٠٧._forge._udp.local.",
        "0001020304050607._forge._udp.local.\n",
    ],
)
def test_what_no_node_is_called(name: str) -> None:
    assert not is_instance(name)
