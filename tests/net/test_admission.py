"""Limits on strangers, and the tokens that prove an address."""

from dataclasses import replace

import pytest

from forge_p2p.config import NetConfig
from forge_p2p.net.admission import (
    HALF_OPEN,
    HALF_OPEN_PER_HOST,
    HALF_OPEN_UNPROVEN,
    TOKEN_LIFETIME,
    Admission,
    RetryTokens,
    Verdict,
    host_key,
)
from forge_p2p.net.packets import Initial


def test_unproven_handshakes_have_a_limit_after_which_proof_is_asked() -> None:
    limits = Admission(NetConfig())
    for number in range(HALF_OPEN_UNPROVEN):
        assert limits.judge(f"192.0.2.{number}", proven=False) is Verdict.ADMIT
        limits.begin(f"192.0.2.{number}", proven=False)
    assert limits.judge("198.51.100.1", proven=False) is Verdict.PROVE
    assert limits.judge("198.51.100.1", proven=True) is Verdict.ADMIT
    limits.end_handshake("192.0.2.0", proven=False)
    assert limits.judge("198.51.100.1", proven=False) is Verdict.ADMIT


def test_proven_hosts_have_a_share_each_and_a_limit_together() -> None:
    limits = Admission(NetConfig())
    for host in range(HALF_OPEN // HALF_OPEN_PER_HOST):
        for _ in range(HALF_OPEN_PER_HOST):
            assert limits.judge(str(host), proven=True) is Verdict.ADMIT
            limits.begin(str(host), proven=True)
        assert limits.judge(str(host), proven=True) is Verdict.DROP
    assert limits.judge("another", proven=True) is Verdict.DROP
    assert limits.judge("another", proven=False) is Verdict.DROP
    assert limits.half_open == HALF_OPEN
    limits.end_handshake("0", proven=True)
    assert limits.judge("0", proven=True) is Verdict.ADMIT


def test_connections_are_limited_by_host_and_in_all() -> None:
    limits = Admission(NetConfig(max_connections=3, max_connections_per_host=2))
    for _ in range(2):
        assert limits.has_room("a", connections=0)
        limits.opened("a")
    assert not limits.has_room("a", connections=2)
    assert limits.has_room("b", connections=2)
    assert not limits.has_room("b", connections=3)
    limits.closed("a")
    assert limits.has_room("a", connections=2)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)
def test_what_counts_as_one_host(one: str, other: str, same: bool) -> None:
    assert (host_key(one) == host_key(other)) is same


def test_a_token_holds_for_its_address_its_ids_and_a_while() -> None:
    tokens = RetryTokens()
    token = tokens.issue("192.0.2.1 5", b"original", b"new-id-8", now=100.0)
    initial = Initial(b"new-id-8", b"client", token)
    assert tokens.original_id("192.0.2.1 5", initial, now=100.0 + TOKEN_LIFETIME - 1) == b"original"
    assert tokens.original_id("192.0.2.1 6", initial, now=100.0) is None
    assert tokens.original_id("192.0.2.1 5", replace(initial, destination_id=b"another8"), now=100.0) is None
    assert tokens.original_id("192.0.2.1 5", initial, now=101.0 + TOKEN_LIFETIME) is None
    assert RetryTokens().original_id("192.0.2.1 5", initial, now=100.0) is None, "another endpoint's"
    for index in range(len(token)):
        changed = token[:index] + bytes([token[index] ^ 1]) + token[index + 1 :]
        assert tokens.original_id("192.0.2.1 5", replace(initial, token=changed), now=100.0) is None
        assert tokens.original_id("192.0.2.1 5", replace(initial, token=token[:index]), now=100.0) is None
    assert tokens.original_id("192.0.2.1 5", replace(initial, token=token * 9), now=100.0) is None
