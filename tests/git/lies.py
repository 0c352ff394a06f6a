"""A member who signs what is not so: repositories put through the node as a pusher would, with something wrong."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Protocol

from forge_p2p.content.gitmanifest import GitManifest, GitPack, GitRef
from forge_p2p.git.calls import Node, Published
from forge_p2p.node.control import call
from forge_p2p.node.home import Home
from tests.git.harness import Person


class Spoil(Protocol):
    """Makes something wrong of what is in a folder."""

    __name__: str

    def __call__(self, folder: Path) -> None: ...


def lie(person: Person, name: str, repository: Path, spoil: Spoil, objects: list[str] | None = None) -> None:
    """Publishes `repository` as `name`, what its files are in `packs/` changed by `spoil`. `objects`: those packed,
    instead of all."""
    folder = person.folder / f"lie-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "packs").mkdir(parents=True)
    listed = objects or person.git("rev-list", "--objects", "--all", at=repository).splitlines()
    packed = pack_objects(person, repository, folder / "packs", listed)
    tip = bytes.fromhex(person.git("rev-parse", "HEAD", at=repository))
    refs = [GitRef(b"refs/heads/main", tip)]
    pack = GitPack(bytes.fromhex(packed), len(listed), [tip], [])
    (folder / "manifest").write_bytes(encoded(GitManifest(1, "sha1", b"refs/heads/main", refs, [pack])))
    spoil(folder)
    put(person, name, folder)


def pack_objects(person: Person, repository: Path, folder: Path, listed: list[str]) -> str:
    """Makes a pack of these objects, that can be written to; its hash."""
    packed = subprocess.run(
        ["git", "-c", "pack.writeReverseIndex=true", "pack-objects", "-q", "--delta-base-offset", str(folder / "pack")],
        cwd=repository,
        env=person.variables(),
        input="\n".join(listed) + "\n",
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    for path in folder.iterdir():
        path.chmod(0o644)
    return packed


def put(person: Person, name: str, folder: Path) -> None:
    """Has the node publish what is in a folder, after what is published."""
    home = Home(person.home)
    node = Node(lambda operation, arguments, on_bytes=None: call(home, operation, arguments, None, on_bytes), name)
    published = node.read()
    node.put(Published(published.about, None), os.fsencode(folder))


def encoded(manifest: GitManifest) -> bytes:
    """The bytes of a manifest, without a look at what is in it."""
    import msgspec

    return msgspec.msgpack.encode(manifest)


def resealed(path: Path, data: bytearray) -> None:
    """Writes an index with its own hash at the end made right."""
    data[-20:] = hashlib.sha1(data[:-20]).digest()
    path.write_bytes(data)


def swap_offsets(folder: Path) -> None:
    """An index that says of the two files of `Person.repository` that each is where the other one is."""
    (path,) = (folder / "packs").glob("*.idx")
    data = bytearray(path.read_bytes())
    count = int.from_bytes(data[8 + 1020 : 8 + 1024])
    names = [bytes(data[8 + 1024 + 20 * at : 8 + 1024 + 20 * at + 20]) for at in range(count)]
    files = [hashlib.sha1(b"blob 400\0" + line * 100).digest() for line in (b"one\n", b"two\n")]
    one, two = (8 + 1024 + count * 24 + 4 * names.index(file) for file in files)
    data[one : one + 4], data[two : two + 4] = data[two : two + 4], data[one : one + 4]
    resealed(path, data)


def wild_offset(folder: Path) -> None:
    """An index that points behind its pack."""
    (path,) = (folder / "packs").glob("*.idx")
    data = bytearray(path.read_bytes())
    count = int.from_bytes(data[8 + 1020 : 8 + 1024])
    at = 8 + 1024 + count * 24
    data[at : at + 4] = (0x7FFFFFF0).to_bytes(4)
    resealed(path, data)


def other_index(folder: Path) -> None:
    """An index of another pack."""
    (path,) = (folder / "packs").glob("*.idx")
    data = bytearray(path.read_bytes())
    data[-40:-20] = bytes(20)
    resealed(path, data)


def no_pack(folder: Path) -> None:
    """A pack that is none."""
    (path,) = (folder / "packs").glob("*.pack")
    path.write_bytes(b"#!/bin/sh\n" * 100)


def stub_pack(folder: Path) -> None:
    """A pack that is shorter than its own hash."""
    (path,) = (folder / "packs").glob("*.pack")
    path.write_bytes(b"PACK")


def nothing(folder: Path) -> None:
    """All as it should be."""
