"""Blinded names: the same for all members, and of no use to others."""

from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.blinding import DHT_KEY_SIZE, LAN_TAG_SIZE, dht_key, lan_tag
from forge_p2p.ids import Hash, NodeId

KEYS = st.binary(min_size=32, max_size=32)


@given(KEYS, KEYS)
def test_lengths_and_domains(secret: bytes, thing: bytes) -> None:
    key, tag = dht_key(secret, Hash(thing)), lan_tag(secret, NodeId(thing))
    assert (len(key), len(tag)) == (DHT_KEY_SIZE, LAN_TAG_SIZE)
    assert key == dht_key(secret, Hash(thing))
    assert key[:8] != tag[:8], "one says nothing about the other"
    assert thing not in (key, tag)


@given(KEYS, KEYS, KEYS)
def test_networks_have_nothing_in_common(one: bytes, other: bytes, thing: bytes) -> None:
    same = one == other
    assert (dht_key(one, Hash(thing)) == dht_key(other, Hash(thing))) == same
    assert (lan_tag(one, NodeId(thing)) == lan_tag(other, NodeId(thing))) == same
