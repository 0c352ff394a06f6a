"""Who is let in learns of its own network or ticket, and nothing of what else the node has: asked frame by frame."""

from pathlib import Path

import trio

from forge_p2p.content.membership import Role
from forge_p2p.content.ticket import parse_ticket
from forge_p2p.node.local import ignore_progress
from forge_p2p.node.operations import sharing
from forge_p2p.wire.codes import Code
from forge_p2p.wire.messages import Done, Welcome
from tests.content.networks import key
from tests.node.harness import noise
from tests.node.names import publish
from tests.node.outsider import about_names, outsiders, questions, sealed
from tests.node.scene import ABSENT, Scene, reader_of


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
