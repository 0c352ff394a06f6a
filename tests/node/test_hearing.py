"""Who shares a root hears from those who fetch it what they have of it by now."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from forge_p2p.ids import NodeId
from forge_p2p.node.network import Network
from forge_p2p.node.sessions.peer import PeerSession
from forge_p2p.node.sessions.serving import Server
from tests.node.harness import noise
from tests.node.test_members import MEMBER, fetched, founder, member, shared, token

SIZE = 6_000_000
SLOW = replace(MEMBER, net=replace(MEMBER.net, limit_up=SIZE / 3))
"""One copy takes some seconds: a fetch that is over sooner is asked nothing."""


@contextmanager
def hearing(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[NodeId | None, set[int]]]:
    """What servers hear, by who tells."""
    heard: dict[NodeId | None, set[int]] = {}
    listen = Server.heard

    def listen_in(server: Server, session: PeerSession, prefixes: Iterable[int]) -> None:
        heard.setdefault(session.peer_id, set()).update(prefixes)
        listen(server, session, prefixes)

    with monkeypatch.context() as patched:
        patched.setattr(Server, "heard", listen_in)
        yield heard


async def fetch_together(link: str, folder: Path, *networks: Network) -> None:
    async with trio.open_nursery() as nursery:
        for number, network in enumerate(networks):
            nursery.start_soon(fetched, network, link, folder / f"copy{number}")


async def test_several_who_fetch_the_same_are_heard_until_they_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "large").write_bytes(noise(1, SIZE))
    async with founder(tmp_path / "a", config=SLOW) as origin:
        text = await token(origin)
        async with member(tmp_path / "b", text) as b, member(tmp_path / "c", text) as c:
            link = await shared(origin, tmp_path / "large")
            with hearing(monkeypatch) as heard:
                await fetch_together(link, tmp_path, b, c)
            assert heard.keys() == {b.node.node_id, c.node.node_id}
            assert all(len(prefixes) > 8 for prefixes in heard.values())
            members = await origin.members()
            with trio.fail_after(30):
                while members._hearing.statistics():
                    await trio.sleep(0.05)
    for number in range(2):
        assert (tmp_path / f"copy{number}").read_bytes() == noise(1, SIZE)


async def test_who_fetches_alone_is_asked_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "large").write_bytes(noise(1, SIZE))
    async with founder(tmp_path / "a", config=SLOW) as origin, member(tmp_path / "b", await token(origin)) as b:
        link = await shared(origin, tmp_path / "large")
        with hearing(monkeypatch) as heard:
            await fetched(b, link, tmp_path / "copy")
        assert not heard
