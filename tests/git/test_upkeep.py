"""Upkeep: the packs of many pushes become few, and nobody who fetches notices."""

import random
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.gitmanifest import GitPack, decode_manifest
from forge_p2p.git.calls import Node
from forge_p2p.git.manifests import empty_manifest
from forge_p2p.git.upkeep import FACTOR, MANY, UNTENDED, newest_to_join, with_joined
from forge_p2p.node.control import call
from forge_p2p.node.home import Home
from tests.git.harness import Person, sound
from tests.git.lies import Spoil, encoded, lie, nothing, pack_objects, wild_offset


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


def published_in_pieces(ada: Person, name: str, count: int, spoil: Spoil) -> Path:
    """A repository published as so many small packs after a first one, of which `spoil` makes something wrong."""
    work = ada.repository("project")
    for number in range(count):
        ada.commit(work, f"later/{number}")
    listed = [
        ada.git("rev-list", "--objects", f"HEAD~{number + 1}..HEAD~{number}", at=work).splitlines()
        for number in reversed(range(count))
    ]

    def many(folder: Path) -> None:
        spoil(folder)
        manifest = decode_manifest((folder / "manifest").read_bytes())
        packs = list(manifest.packs)
        for objects in listed:
            made = pack_objects(ada, work, folder / "packs", objects)
            packs.append(GitPack(bytes.fromhex(made), len(objects), [], []))
        (folder / "manifest").write_bytes(encoded(msgspec.structs.replace(manifest, packs=packs)))

    lie(ada, name, work, many, objects=ada.git("rev-list", "--objects", f"HEAD~{count}", at=work).splitlines())
    return work


def test_packs_whose_indexes_lie_stay_as_they_are(ada: Person) -> None:
    """What was published is published, whatever somebody else has put there before."""
    work = published_in_pieces(ada, "untended", MANY, wild_offset)
    tip = ada.commit(work, "last")
    assert ada.forge("git", "publish", str(work), "untended") == "forge://team/untended"
    assert tip in ada.git("ls-remote", "forge://untended", "HEAD")


def test_where_nobody_publishes_who_pushes_joins(ada: Person, bob: Person) -> None:
    published_in_pieces(ada, "pushed", UNTENDED - 1, nothing)
    bob.git("clone", "--quiet", "forge://pushed", "copy")
    tip = bob.commit(bob.folder / "copy", "last")
    bob.git("push", "--quiet", at=bob.folder / "copy")
    node = Node(lambda name, words, sink=None: call(Home(ada.home), name, words, None, sink), "pushed")
    manifest = node.read().manifest
    assert manifest is not None
    assert len(manifest.packs) <= MANY
    ada.git("clone", "--quiet", "forge://pushed", "whole")
    assert ada.git("rev-parse", "HEAD", at=ada.folder / "whole") == tip
    sound(ada, ada.folder / "whole")
    sound(bob, bob.folder / "copy")
