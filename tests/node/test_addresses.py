"""Static peers as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.contact import Contact
from forge_p2p.errors import UsageError
from forge_p2p.ids import NodeId
from forge_p2p.node.addresses import parse_peer

NODE = NodeId(bytes(range(32)))
ID = NODE.hex()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (f"{ID}@192.0.2.1:4433", ("192.0.2.1", 4433)),
        (f" {ID.upper()}@127.0.0.1:1\n", ("127.0.0.1", 1)),
        (f"{ID}@[2001:db8:0::1]:65535", ("2001:db8::1", 65535)),
        (f"{ID}@[fe80::1%eth0]:7", ("fe80::1%eth0", 7)),
    ],
)
def test_peers(text: str, address: tuple[str, int]) -> None:
    assert parse_peer(text) == Contact(NODE, (address,))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not of the form"),
        ("192.0.2.1:4433", "not of the form"),
        (f"{ID}@192.0.2.1", "not of the form"),
        (f"{ID}@192.0.2.1:", "not of the form"),
        (f"{ID}@192.0.2.1:٣", "not of the form"),
        (f"{ID}@2001:db8::1:4433", "not of the form"),
        (f"{ID[2:]}@192.0.2.1:4433", "64 hexadecimal digits"),
        (f"{ID}00@192.0.2.1:4433", "64 hexadecimal digits"),
        (f"{'x' * 64}@192.0.2.1:4433", "64 hexadecimal digits"),
        (f"{ID}@build.example:4433", "'build.example' is not a numeric IP address"),
        (f"{ID}@192.0.2.256:4433", "'192.0.2.256' is not a numeric IP address"),
        (f"{ID}@192.0.2.1:0", "nobody can be reached"),
        (f"{ID}@192.0.2.1:65536", "nobody can be reached"),
        (f"{ID}@0.0.0.0:4433", "nobody can be reached"),
        (f"{ID}@[ff02::fb]:4433", "nobody can be reached"),
    ],
)
def test_what_is_no_peer_says_why(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match="is not a peer") as caught:
        parse_peer(text)
    assert reason in caught.value.message
    assert "NODEID@192.0.2.1:4433" in caught.value.hint


@given(st.text(max_size=100) | st.from_regex(rf"{ID}@.{{0,20}}:[0-9]{{1,5}}", fullmatch=True))
def test_anything_is_a_peer_or_a_usage_error(text: str) -> None:
    try:
        contact = parse_peer(text)
    except UsageError:
        return
    assert len(contact.node_id) == 32
    assert len(contact.addresses) == 1
