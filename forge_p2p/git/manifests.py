"""Manifests made from a repository: one after another, and the first."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from forge_p2p.content.gitmanifest import (
    FORMAT,
    MANIFEST,
    GitManifest,
    GitPack,
    GitRef,
    encode_manifest,
)
from forge_p2p.errors import UsageError
from forge_p2p.git.calls import Published
from forge_p2p.git.running import Git

BRANCHES = b"refs/heads/"

_LIKELY = (b"refs/heads/main", b"refs/heads/master")


@dataclass(frozen=True, slots=True)
class Update:
    """What a ref is to be; `oid` is empty for a deletion."""

    ref: bytes
    oid: bytes


def empty_manifest(object_format: str) -> GitManifest:
    """Of a repository without anything."""
    return GitManifest(FORMAT, object_format, b"", [], [], [])


def manifest_for(git: Git, published: Published) -> GitManifest:
    """What is published, or nothing yet, of the object format that the repository `git` has. Raises `UsageError`."""
    object_format = git.places.object_format
    manifest = published.manifest or empty_manifest(object_format)
    if manifest.object_format != object_format:
        raise UsageError(f"{published.about.name!r} has {manifest.object_format} objects, this repository others")
    return manifest


def updated(git: Git, before: GitManifest, updates: Sequence[Update], pack: GitPack | None) -> GitManifest:
    """`before` with some refs moved and perhaps one more pack."""
    refs = {ref.name: ref for ref in before.refs}
    changed = [update for update in updates if update.oid]
    peeled = git.peeled([update.oid for update in changed])
    for update in updates:
        refs.pop(update.ref, None)
    for update, target in zip(changed, peeled, strict=True):
        refs[update.ref] = GitRef(update.ref, update.oid, target if target != update.oid else b"")
    packs = before.packs if pack is None or pack.hash in {each.hash for each in before.packs} else [*before.packs, pack]
    head = before.head if before.head in refs else _head(git, before.head, refs)
    return replace(before, head=head, refs=[refs[name] for name in sorted(refs)], packs=list(packs))


def _head(git: Git, before: bytes, names: Iterable[bytes]) -> bytes:
    """Where HEAD is to point when what it pointed to is not there (any more): as here, if that is there."""
    branches = sorted(name for name in names if name.startswith(BRANCHES))
    for likely in (git.head(), *_LIKELY):
        if likely in branches:
            return likely
    return branches[0] if branches else before


def write_manifest(manifest: GitManifest, folder: bytes) -> None:
    """Writes it where `Node.put` looks for it."""
    with open(os.path.join(folder, MANIFEST), "wb") as file:
        file.write(encode_manifest(manifest))
