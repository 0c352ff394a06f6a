"""Who is no member gets nothing and learns nothing: every case, on real sockets, frame by frame.

The node under attack has made a network, shared content into it, and is in a second one. The outsiders speak the
protocol by hand and ask all there is to ask before they hear the verdict.
"""

import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import trio

from forge_p2p.content.linktext import parse_link
from forge_p2p.content.membership import Role
from forge_p2p.content.sealing import Direction, seal
from forge_p2p.content.ticket import parse_ticket
from forge_p2p.ids import Hash, NodeId
from forge_p2p.node import networking, sharing
from forge_p2p.node.local import ignore_progress
from forge_p2p.node.members import Members
from forge_p2p.node.network import Network
from forge_p2p.node.rights import STRANGER
from forge_p2p.proto.membership import encode_member, encode_revocation
from forge_p2p.wire.codes import Code
from forge_p2p.wire.fields import FrameType
from forge_p2p.wire.messages import Done, Refused, Welcome
from tests.content.networks import DAY, Member, World, key, public
from tests.node.harness import noise, running
from tests.node.names import publish
from tests.node.outsider import Call, Credentials, about_names, outsiders, questions, sealed
from tests.node.test_members import MEMBER

ABSENT = Hash(bytes(32))
GARBAGE = bytes([2]) + noise(7, 300)
STRANGERS = "this node answers members of its networks and holders of a ticket, nobody else"


@dataclass
class Scene:
    """A node, its network and what it shares there, and its second network."""

    node: Network
    world: World
    other: World
    root: Hash

    async def revoke(self, revoked: bytes) -> None:
        """By the network's key; back when the node has taken it in."""
        members = await self.node.members()
        revocation = self.world.revoke(revoked)
        await trio.to_thread.run_sync(members.networks.keep_revocations, self.world.id, [revocation])
        with trio.fail_after(10):
            while not is_revoked(members, self.world, revoked):
                await trio.sleep(0.02)


def is_revoked(members: Members, world: World, revoked: bytes) -> bool:
    """Whether a running node knows it."""
    return revoked in members.memberships._circles[world.id].state.revoked


@asynccontextmanager
async def scene(home: Path) -> AsyncIterator[Scene]:
    """A node that is up."""
    async with running(home, MEMBER) as node:
        for name in ("team", "other"):
            await trio.to_thread.run_sync(partial(networking.create, node.node, name=name, report=ignore_progress))
        members = await node.members()
        with trio.fail_after(10):
            while len(members.lookups) < 2:
                await trio.sleep(0.02)
        found = await trio.to_thread.run_sync(members.networks.all)
        other, team = (World.of(joined, int(time.time())) for joined in found)
        content = home.parent / "content"
        content.write_bytes(noise(5, 100_000))
        shared = await sharing.share(node, path=str(content), in_network="team", report=ignore_progress)
        yield Scene(node, team, other, parse_link(shared.link).link.hash)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path / "home") as found:
        yield found


def reader_of(world: World) -> Member:
    return world.member(5, world.token(4))


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


def by_a_reader(here: Scene) -> Member:
    """Joined by a token that a reader has signed."""
    reader = reader_of(here.world)
    token = here.world.certificate(reader.private, 8, Role.READER, delegable=True)
    return Member(key(9), (*reader.chain, token, here.world.certificate(key(8), 9, Role.READER)))


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


async def test_a_member_of_one_network_learns_nothing_of_another(here: Scene) -> None:
    """Of the same node, with the right questions: what is in the other network is what is nowhere."""
    member = here.other.member(5, here.other.token(4, Role.ADMIN))
    async with outsiders() as call:
        outsider = await call(here.node, member.private, sealed(member, here.other.secret))
        assert isinstance(outsider.verdict, Welcome)
        for secret in (here.other.secret, here.world.secret):
            known = await outsider.ask(*questions(here.root, secret))
            assert known == await outsider.ask(*questions(ABSENT, secret))
            assert all(known), "each is answered"
        assert outsider.news
        assert not any(bytes(here.world.id) in item for item in outsider.news)


async def test_the_members_of_the_network_itself_get_it(here: Scene) -> None:
    """The same questions, by who may ask them: or the tests above would show nothing."""
    member = reader_of(here.world)
    async with outsiders() as call:
        outsider = await call(here.node, member.private, sealed(member, here.world.secret))
        assert isinstance(outsider.verdict, Welcome)
        want, have, find, follow = questions(here.root, here.world.secret)
        unfollowed = await outsider.ask(want, have)
        assert unfollowed == await outsider.ask(*questions(ABSENT, here.world.secret)[:2]), "a hash alone is no right"
        provided = await outsider.ask(find)
        assert provided != await outsider.ask(questions(ABSENT, here.world.secret)[2])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outsider.ask, follow)
            while (await outsider.ask(have)) == unfollowed[1:]:
                await trio.sleep(0.02)
            (content,) = await outsider.ask(want)
            nursery.cancel_scope.cancel()
        assert len(content) > 90_000


async def test_holders_of_a_ticket_learn_nothing_of_networks(here: Scene, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(noise(8, 50_000))
    result = await sharing.share(here.node, path=str(tmp_path / "mine"), report=ignore_progress)
    ticket = parse_ticket(result.ticket)
    async with outsiders() as call:
        outsider = await call(here.node, key(9), lambda server: ticket.capability.encode())
        assert isinstance(outsider.verdict, Welcome)
        assert outsider.verdict.credentials == b"", "the node shows nothing of itself"
        known = await outsider.ask(*questions(here.root, here.world.secret))
        assert known == await outsider.ask(*questions(ABSENT, here.world.secret))
        assert Done(Code.DENIED, "for members of the network only").reason.encode() in known[2]
        (mine,) = await outsider.ask(questions(ticket.root.link.hash, bytes(32))[0])
        assert len(mine) > 45_000
        assert outsider.news == []
        denied = await outsider.ask(*about_names("nightly"))
        assert all(Done(Code.DENIED, "for members of the network only").reason.encode() in each for each in denied)


async def test_names_of_one_network_are_nothing_to_members_of_another(here: Scene, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"content")
    name = "team/nightly"
    await publish(here.node, name, tmp_path / "mine")
    ours, theirs = reader_of(here.world), here.other.member(5, here.other.token(4, Role.ADMIN))
    async with outsiders() as call:
        outsider = await call(here.node, theirs.private, sealed(theirs, here.other.secret))
        insider = await call(here.node, ours.private, sealed(ours, here.world.secret))
        read, listed, put = about_names("nightly")
        assert await outsider.ask(read) == await outsider.ask(about_names("nothing")[0])
        assert b"nightly" not in (await outsider.ask(listed))[0]
        assert b"nightly" in (await insider.ask(listed))[0]
        assert (await insider.ask(read)) != await insider.ask(about_names("nothing")[0])
        assert (await insider.ask(put))[0], "answered, and refused"


THROWN = [FrameType.DELTA, FrameType.BASELESS, *(FrameType(number) for number in range(0x30, 0x36))]


@pytest.mark.parametrize("body", [b"\x03\xff\xff\xff", b"\xbf\xff\xff\xff" + bytes(100)], ids=["garbage", "endless"])
async def test_a_member_that_throws_garbage_is_thrown_out_alone(here: Scene, body: bytes) -> None:
    bad, good = reader_of(here.world), here.world.member(6, here.world.token(7))
    async with outsiders() as call:
        bystander = await call(here.node, good.private, sealed(good, here.world.secret))
        for kind in THROWN:
            thrower = await call(here.node, bad.private, sealed(bad, here.world.secret))
            assert isinstance(thrower.verdict, Welcome)
            assert not thrower.ended.is_set()
            await thrower.throw(bytes([kind]) + body)
        assert all(await bystander.ask(*questions(ABSENT, here.world.secret)[:2]))


@pytest.mark.parametrize("lie", ["a revocation", "a member", "junk"])
async def test_a_reader_that_writes_is_thrown_out(here: Scene, lie: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever it signs counts nowhere, and the victim's session goes on."""
    reader, victim = reader_of(here.world), here.world.member(6, here.world.token(7, Role.WRITER))
    item = {
        "a revocation": encode_revocation(here.world.revoke(victim.node_id, reader)),
        "a member": encode_member(by_a_reader(here).chain[:3]),
        "junk": b"\1junk",
    }[lie]
    async with outsiders() as call:
        good = await call(here.node, victim.private, sealed(victim, here.world.secret))
        bad = await call(here.node, reader.private, sealed(reader, here.world.secret))
        await bad.tell(item)
        with trio.fail_after(10):
            await bad.ended.wait()
        assert bad.goodbye is not None
        assert bad.goodbye.code == Code.MALFORMED
        assert any("which lied" in record.getMessage() for record in caplog.records)
        assert await good.ask(*questions(ABSENT, here.world.secret)[:1])
        members = await here.node.members()
        assert not is_revoked(members, here.world, victim.node_id)


async def test_a_revocation_ends_open_sessions_at_once(here: Scene) -> None:
    """It comes from a member, takes effect, is passed on to the others, and is on disk."""
    admin = here.world.member(3, here.world.token(2, Role.ADMIN))
    token = here.world.token(4)
    victims = [here.world.member(number, token) for number in (20, 21)]
    bystander = here.world.member(6, here.world.token(7))
    async with outsiders() as call:
        sessions = [
            await call(here.node, member.private, sealed(member, here.world.secret))
            for member in (admin, *victims, bystander)
        ]
        item = encode_revocation(here.world.revoke(token.id, admin))
        await sessions[0].tell(item)
        with trio.fail_after(10):
            for session in sessions[1:3]:
                await session.ended.wait()
            while item not in sessions[3].news:
                await trio.sleep(0.02)
            assert [session.goodbye.code for session in sessions[1:3] if session.goodbye] == [Code.REVOKED] * 2
            networks = (await here.node.members()).networks
            while not await trio.to_thread.run_sync(networks.revocations, here.world.id):
                await trio.sleep(0.02)
        assert not sessions[3].ended.is_set()


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
