"""Upkeep: the packs of many pushes become few, and nobody who fetches notices."""

import random

from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.gitmanifest import GitPack
from forge_p2p.git.calls import Node
from forge_p2p.git.manifests import empty_manifest
from forge_p2p.git.upkeep import FACTOR, MANY, newest_to_join, with_joined
from forge_p2p.node.control import call
from forge_p2p.node.home import Home
from tests.git.harness import Person, sound


def pack(number: int, objects: int, *tips: bytes) -> GitPack:
    return GitPack(number.to_bytes(20, "big"), objects, list(tips), [])


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=40))
def test_what_is_joined_leaves_a_geometric_row(sizes: list[int]) -> None:
    packs = [pack(number, size) for number, size in enumerate(sizes)]
    count = newest_to_join(packs)
    rest, joined = sizes[:-count], sum(sizes[-count:])
    assert not rest or rest[-1] >= FACTOR * joined
    assert 1 <= count <= len(sizes)


def test_a_joined_pack_has_the_tips_of_all() -> None:
    one, two, three = (bytes([number]) * 20 for number in (1, 2, 3))
    packs = [
        pack(1, 100, one),
        GitPack(bytes(19) + b"\2", 5, [two], [one]),
        GitPack(bytes(19) + b"\3", 7, [three], [two]),
    ]
    manifest = empty_manifest("sha1")
    manifest = type(manifest)(manifest.format, "sha1", b"", [], packs, [])
    joined = with_joined(manifest, packs[1:], b"\7" * 20)
    assert joined.packs == [packs[0], GitPack(b"\7" * 20, 12, [two, three], [one])]
    unknown = with_joined(manifest, [pack(4, 1), packs[2]], b"\7" * 20)
    assert (unknown.packs[-1].tips, unknown.packs[-1].prerequisites) == ([], [])


def test_many_pushes_become_few_packs(ada: Person, bob: Person) -> None:
    chance = random.Random(1)
    work = ada.repository("project")
    for number in range(30):
        ada.commit(work, f"folder/{number % 5}", "".join(f"{chance.random()}\n" for _ in range(200)))
    ada.forge("git", "publish", str(work), "team/tended")
    bob.git("clone", "--quiet", "forge://team/tended", "early")

    def packs() -> list[GitPack]:
        node = Node(lambda name, words, sink=None: call(Home(ada.home), name, words, None, sink), "team/tended")
        manifest = node.read().manifest
        assert manifest is not None
        return list(manifest.packs)

    counts = []
    for number in range(MANY + 2):
        ada.commit(work, f"later/{number}", f"{chance.random()}\n")
        ada.forge("git", "publish", str(work), "team/tended")
        counts.append(len(packs()))
        if number == MANY - 3:
            bob.git("clone", "--quiet", "forge://team/tended", "between")
    assert max(counts) == MANY
    assert counts[-1] < MANY
    reachable = ada.git("rev-list", "--objects", "--all", at=work).splitlines()
    assert sum(pack.objects for pack in packs()) == len(reachable)
    bob.git("clone", "--quiet", "forge://team/tended", "late")
    for name in ("early", "between", "late"):
        bob.git("pull", "--quiet", at=bob.folder / name)
        assert bob.git("rev-parse", "HEAD", at=bob.folder / name) == ada.git("rev-parse", "HEAD", at=work)
        sound(bob, bob.folder / name)
