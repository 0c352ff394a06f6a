"""Upkeep: the packs of many pushes become few, and nobody who fetches notices."""

import os
import random
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.gitmanifest import GitPack, decode_manifest, pack_name
from forge_p2p.git.calls import Node
from forge_p2p.git.manifests import empty_manifest
from forge_p2p.git.remote.fetch import names_of
from forge_p2p.git.upkeep import FACTOR, MANY, UNTENDED, newest_to_join, with_joined
from forge_p2p.node.control import call
from forge_p2p.node.home import Home
from tests.git.harness import Person, sound
from tests.git.lies import Spoil, encoded, lie, no_pack, nothing, pack_objects, swap_offsets, wild_offset
from tests.git.test_graphs import grown, manifest_of


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
    joined = with_joined(manifest, packs[1:], GitPack(b"\7" * 20, 12, [], []))
    assert joined.packs == [packs[0], GitPack(b"\7" * 20, 12, [two, three], [one])]
    unknown = with_joined(manifest, [pack(4, 1), packs[2]], GitPack(b"\7" * 20, 12, [], []))
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


def published_in_pieces(ada: Person, name: str, count: int, spoil: Spoil, *, twice: bool = False) -> Path:
    """A repository published as so many small packs after a first one, of which `spoil` makes something wrong.
    `twice`: an object of the first is in the others again."""
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
            if twice:
                objects.append(ada.git("rev-parse", "HEAD:one", at=work))
            made = pack_objects(ada, work, folder / "packs", objects)
            packs.append(GitPack(bytes.fromhex(made), len(objects), [], []))
        (folder / "manifest").write_bytes(encoded(msgspec.structs.replace(manifest, packs=packs)))

    lie(ada, name, work, many, objects=ada.git("rev-list", "--objects", f"HEAD~{count}", at=work).splitlines())
    return work


@pytest.mark.parametrize("spoil", [wild_offset, swap_offsets, nothing])
def test_packs_that_cannot_be_joined_are_packed_anew(spoil: Spoil, ada: Person, bob: Person) -> None:
    """Indexes that lie, an object in many packs: so the most that a manifest names is never reached."""
    name = f"anew-{spoil.__name__}"
    work = published_in_pieces(ada, name, MANY, spoil, twice=spoil is nothing)
    tip = ada.commit(work, "last")
    assert ada.forge("git", "publish", str(work), name) == f"forge://team/{name}"
    assert len(manifest_of(ada, name).packs) < MANY
    bob.git("clone", "--quiet", f"forge://{name}", "copy")
    assert bob.git("rev-parse", "HEAD", at=bob.folder / "copy") == tip
    sound(bob, bob.folder / "copy")


def test_packs_that_are_none_stay_as_they_are(ada: Person) -> None:
    """What was published is published, whatever somebody else has put there before, and packs beside it become one."""
    work = published_in_pieces(ada, "untended", MANY, no_pack)
    tip = ada.commit(work, "last")
    assert ada.forge("git", "publish", str(work), "untended") == "forge://team/untended"
    assert tip in ada.git("ls-remote", "forge://untended", "HEAD")
    assert len(manifest_of(ada, "untended").packs) == 2


def sizes_of(ada: Person, name: str) -> dict[bytes, int]:
    """The packs' sizes by their hashes."""
    node = Node(lambda what, words, sink=None: call(Home(ada.home), what, words, None, sink), name)
    published = node.read()
    assert published.manifest is not None
    folder = ada.folder / f"packs-{len(published.manifest.packs)}-{published.about.seq}"
    folder.mkdir()
    node.place(published, os.fsencode(folder), names_of(published.manifest.packs))
    return {pack.hash: (folder / f"{pack_name(pack.hash)}.pack").stat().st_size for pack in published.manifest.packs}


def test_what_pushes_have_added_is_packed_anew(ada: Person, bob: Person) -> None:
    """The large pack stays byte for byte, and what is behind it is a fraction of what it was."""
    work = ada.folder / "work.git"
    ada.git("init", "--quiet", "--bare", str(work))
    tips = []
    for number in range(MANY):
        grown(ada, work, 200 if number else 5000, 4800 + 200 * number if number else 0)
        tips.append(ada.git("rev-parse", "main", at=work))
    listed = [ada.git("rev-list", "--objects", new, f"^{old}", at=work).splitlines() for old, new in pairwise(tips)]

    def many(folder: Path) -> None:
        manifest = decode_manifest((folder / "manifest").read_bytes())
        made = [(bytes.fromhex(pack_objects(ada, work, folder / "packs", each)), len(each)) for each in listed]
        packs = [GitPack(name, count, [], []) for name, count in made]
        changed = msgspec.structs.replace(manifest, packs=[*manifest.packs, *packs])
        (folder / "manifest").write_bytes(encoded(changed))

    lie(ada, "repacked", work, many, objects=ada.git("rev-list", "--objects", tips[0], at=work).splitlines())
    before = sizes_of(ada, "repacked")
    assert len(before) == MANY
    grown(ada, work, 200, 4800 + 200 * MANY)
    ada.forge("git", "publish", str(work), "repacked")
    after = sizes_of(ada, "repacked")
    (large, *_), (first, second) = before, after
    joined = (sum(before.values()) - before[large]) * MANY / (MANY - 1)
    assert first == large
    assert after[second] < 0.9 * joined, "deltas from one push to another"
    bob.git("clone", "--quiet", "--bare", "forge://repacked", "copy.git")
    assert bob.git("rev-parse", "main", at=bob.folder / "copy.git") == ada.git("rev-parse", "main", at=work)
    sound(bob, bob.folder / "copy.git")


def test_who_clones_while_many_push_goes_on(ada: Person, bob: Person) -> None:
    """What an earlier record names stays for a while, however many come after it."""
    work = ada.repository("work")
    for number in range(6):
        ada.commit(work, f"later/{number}")
        lie(ada, "busy", work, nothing)
    bob.git("clone", "--quiet", "forge://busy@1", "copy")
    assert bob.git("rev-parse", "HEAD", at=bob.folder / "copy") == ada.git("rev-parse", "HEAD~5", at=work)


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
