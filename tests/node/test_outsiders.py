"""Who is no member gets nothing and learns nothing: every case, on real sockets, frame by frame.

The outsiders speak the protocol by hand and ask all there is to ask before they hear the verdict.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from forge_p2p.content.membership import Role
from forge_p2p.content.sealing import Direction, seal
from forge_p2p.ids import NodeId
from forge_p2p.node.sessions.rights import STRANGER
from forge_p2p.wire.codes import Code
from forge_p2p.wire.messages import Refused, Welcome
from tests.content.networks import DAY, Member, World, key, public
from tests.node.harness import noise, running
from tests.node.outsider import Call, Credentials, about_names, outsiders, questions, sealed
from tests.node.scene import ABSENT, Scene, by_a_reader, reader_of, scene
from tests.node.test_members import MEMBER

GARBAGE = bytes([2]) + noise(7, 300)
STRANGERS = "this node answers members of its networks and holders of a ticket, nobody else"


Case = Callable[[Scene], tuple[Member, Credentials]]


def shows(make: Callable[[Scene], Member]) -> Case:
    """A chain, sealed under the network's secret: by somebody who knows that."""

    def case(here: Scene) -> tuple[Member, Credentials]:
        member = make(here)
        return member, sealed(member, here.world.secret)

    return case


def bytes_only(data: bytes) -> Case:
    return lambda here: (Member(key(9), ()), lambda server: data)


def of_another_network(here: Scene) -> tuple[Member, Credentials]:
    foreign = World(number=2000, secret=bytes(32), now=here.world.now)
    return reader_of(foreign), sealed(reader_of(foreign), foreign.secret)


def replayed_by_another(here: Scene) -> tuple[Member, Credentials]:
    """What a member showed, by another key."""
    return Member(key(9), ()), sealed(reader_of(here.world), here.world.secret)


def replayed_to_another(here: Scene) -> tuple[Member, Credentials]:
    """What a member showed to another server, passed on under the member's own name."""
    reader = reader_of(here.world)
    return reader, lambda server: sealed(reader, here.world.secret)(NodeId(public(key(77))))


def sent_back(here: Scene) -> tuple[Member, Credentials]:
    """What a server showed in return."""
    reader = reader_of(here.world)
    return reader, lambda server: seal(here.world.secret, server, reader.node_id, Direction.SERVER, b"")


def promoted(here: Scene) -> Member:
    """A reader's token, and the role of an admin."""
    return Member(key(9), (*here.world.token(4).chain, here.world.certificate(key(4), 9, Role.ADMIN)))


def tampered(here: Scene) -> Member:
    reader = reader_of(here.world)
    return Member(reader.private, (reader.chain[0], replace(reader.chain[1], label="somebody else")))


def outlived(here: Scene) -> Member:
    """A token of a minute, used an hour later with a clock set back."""
    now = here.world.now
    token = here.world.token(4, expires=now - 3600)
    return here.world.member(5, token, now=now - 7200)


def of_tomorrow(here: Scene) -> Member:
    return here.world.member(5, here.world.token(4), now=here.world.now + DAY)


def endless(here: Scene) -> Member:
    world = here.world
    admin = world.member(3, world.token(2, Role.ADMIN))
    fourth = world.member(11, world.token(10, Role.ADMIN, admin))
    return Member(key(12), (*fourth.chain, world.certificate(fourth.private, 12, Role.READER)))


def unreadable(here: Scene) -> tuple[Member, Credentials]:
    member = Member(key(9), ())
    return member, lambda server: seal(here.world.secret, server, member.node_id, Direction.CLIENT, b"junk")


TABLE: dict[str, tuple[Case, Code, str, str]] = {
    # what is shown, the code of the refusal, what the log says, what the client is told
    "nothing": (bytes_only(b""), Code.DENIED, "neither a ticket nor a certificate", STRANGERS),
    "garbage": (bytes_only(GARBAGE), Code.DENIED, "belongs to no network of this node", STRANGERS),
    "one byte": (bytes_only(b"\2"), Code.DENIED, "belongs to no network of this node", STRANGERS),
    "another network's": (of_another_network, Code.DENIED, "belongs to no network of this node", STRANGERS),
    "replayed by another": (replayed_by_another, Code.DENIED, "belongs to no network of this node", STRANGERS),
    "replayed to another": (replayed_to_another, Code.DENIED, "belongs to no network of this node", STRANGERS),
    "sent back": (sent_back, Code.DENIED, "belongs to no network of this node", STRANGERS),
    "no certificate": (
        shows(lambda here: Member(key(9), ())),
        Code.DENIED,
        "there is no certificate",
        "no certificate",
    ),
    "foreign, and knows the secret": (
        shows(lambda here: reader_of(here.other)),
        *(Code.DENIED, "the certificate is of another network", "of another network"),
    ),
    "stolen certificate": (
        shows(lambda here: Member(key(9), reader_of(here.world).chain)),
        *(Code.DENIED, "the certificate is that of node", "the certificate is that of node"),
    ),
    "token as a node": (
        shows(lambda here: Member(key(4), here.world.token(4).chain)),
        *(Code.DENIED, "the certificate is that of token", "the certificate is that of token"),
    ),
    "tampered": (shows(tampered), Code.DENIED, "its signature is wrong", "tampered with"),
    "unreadable": (unreadable, Code.DENIED, "the certificate cannot be read", "cannot be read"),
    "a reader's invitation": (shows(by_a_reader), Code.DENIED, "which may not issue it", "may not issue it"),
    "promoted": (shows(promoted), Code.DENIED, "gives more, or for longer, than", "gives more"),
    "too long": (shows(endless), Code.DENIED, "a chain of 5 certificates", "a chain of 5"),
    "expired": (shows(outlived), Code.EXPIRED, "the certificate expired 1 hour ago", "expired 1 hour ago"),
    "not yet valid": (shows(of_tomorrow), Code.DENIED, "is not valid before 20", "is not valid before 20"),
}


async def test_strangers(here: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """Refused with its own reason, and not a byte in answer to anything, whether what is asked for exists or not."""
    async with outsiders() as call:
        for case, code, logged, told in TABLE.values():
            caplog.clear()
            member, credentials = case(here)
            verdict = await refusal(call, here, member, credentials)
            assert (verdict.code, told in verdict.reason) == (code, True), (told, verdict)
            assert_logged(caplog, member, logged)
        good = reader_of(here.world)
        outsider = await call(here.node, good.private, sealed(good, here.world.secret))
        assert isinstance(outsider.verdict, Welcome), "or all of this would show nothing"


async def refusal(call: Call, here: Scene, member: Member, credentials: Credentials) -> Refused:
    """How the node sends somebody away, after making sure that it says nothing else."""
    verdicts = []
    for root in (here.root, ABSENT):
        early = [*questions(root, here.world.secret), *about_names("nightly")]
        outsider = await call(here.node, member.private, credentials, early)
        with trio.fail_after(20):
            await outsider.ended.wait()
        assert outsider.heard == {}, "nothing is answered"
        assert outsider.news == []
        verdicts.append(outsider.verdict)
    verdict = verdicts[0]
    assert isinstance(verdict, Refused)
    assert verdict == verdicts[1], "existing content makes no difference"
    return verdict


def assert_logged(caplog: pytest.LogCaptureFixture, member: Member, logged: str) -> None:
    """Both calls of `refusal`, with who and why."""
    lines = [record for record in caplog.records if logged in record.getMessage()]
    assert len(lines) == 2, caplog.text
    assert all(member.node_id.hex()[:16] in line.getMessage() for line in lines), "the log says who"
    assert all(line.levelno == logging.WARNING for line in lines)


@pytest.mark.parametrize("whose", ["its own key", "its token", "an admin above"])
async def test_the_revoked(here: Scene, whose: str, caplog: pytest.LogCaptureFixture) -> None:
    admin = here.world.member(3, here.world.token(2, Role.ADMIN))
    token = here.world.token(4, by=admin)
    member = here.world.member(5, token)
    revoked = {"its own key": member.node_id, "its token": token.id, "an admin above": admin.node_id}[whose]
    await here.revoke(revoked)
    async with outsiders() as call:
        verdict = await refusal(call, here, member, sealed(member, here.world.secret))
    assert verdict == Refused(Code.REVOKED, "the membership, or the token that it came by, was revoked")
    assert_logged(caplog, member, verdict.reason)


async def test_a_stolen_token_that_was_revoked(here: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """The thief makes a fresh key and a chain for it, whose every signature is right."""
    token = here.world.token(4)
    await here.revoke(token.id)
    thief = here.world.member(666, token)
    async with outsiders() as call:
        verdict = await refusal(call, here, thief, sealed(thief, here.world.secret))
    assert verdict.code == Code.REVOKED
    assert_logged(caplog, thief, "was revoked")


async def test_a_stranger_cannot_tell_who_is_in_a_network(tmp_path: Path) -> None:
    """A node in two networks and one in none send the same to who shows nothing good."""
    async with scene(tmp_path / "here") as here, running(tmp_path / "none", MEMBER) as none, outsiders() as call:
        for data in (b"", GARBAGE, b"\2", bytes(163), b"\3later"):
            verdicts = [
                (await call(node, key(9), lambda server, data=data: data, questions(here.root, bytes(32)))).verdict
                for node in (here.node, none)
            ]
            assert isinstance(verdicts[0], Refused)
            assert verdicts[0] == verdicts[1]
            assert verdicts[0].code == STRANGER.code


async def test_the_log_names_no_secrets(here: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = here.world.token(4)
    await here.revoke(token.id)
    member = here.world.member(5, token)
    async with outsiders() as call:
        for shown in (sealed(member, here.world.secret), lambda server: os.urandom(200)):
            await call(here.node, member.private, shown)
    secrets = [here.world.secret, here.other.secret, here.world.key.private_bytes_raw(), token.seed]
    text = caplog.text
    assert text
    assert not any(secret.hex() in text or repr(secret) in text for secret in secrets)
