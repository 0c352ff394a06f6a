"""Members that throw garbage, lie or are revoked are thrown out, at once and alone."""

import pytest
import trio

from forge_p2p.content.membership import Role
from forge_p2p.proto.membership import encode_member, encode_revocation
from forge_p2p.wire.codes import Code
from forge_p2p.wire.fields import FrameType
from forge_p2p.wire.messages import Welcome
from tests.node.outsider import outsiders, questions, sealed
from tests.node.scene import ABSENT, Scene, by_a_reader, is_revoked, reader_of

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
        with trio.fail_after(30):
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
        with trio.fail_after(30):
            for session in sessions[1:3]:
                await session.ended.wait()
            while item not in sessions[3].news:
                await trio.sleep(0.02)
            assert [session.goodbye.code for session in sessions[1:3] if session.goodbye] == [Code.REVOKED] * 2
            networks = (await here.node.members()).networks
            while not await trio.to_thread.run_sync(networks.revocations, here.world.id):
                await trio.sleep(0.02)
        assert not sessions[3].ended.is_set()
