"""Git manifests: what a name stands for that is a repository: refs, HEAD, and the packs that hold the objects.

A root of kind `git` is a listing like a tree's, of `manifest` and of each pack's files in `packs/`. So a repository is
reached, fetched, kept, told of and given back by what does so with directories, and the packs' links and sizes are
where links and sizes always are. The manifest says what the files alone do not.

Everything in a manifest may be a stranger's: `decode_manifest` bounds it and checks what holds between its parts. That
the packs hold what the refs name is not for pure code to know; `docs/git.md` says who finds that out, and when.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from forge_p2p.content.gitrefname import NAME_MAX, clash_among, fault_of_ref
from forge_p2p.content.link import Link
from forge_p2p.content.snapshot import Entry, EntryKind, sort_key
from forge_p2p.errors import Malformed

FORMAT: Final = 1
FORMAT_WITH_GRAPH: Final = 2
"""With a commit-graph; written only where there is one, so that who knows the first reads all others."""

MANIFEST_MAX: Final = 64 << 20
"""Bytes: some 600,000 refs."""

REFS_MAX: Final = 1 << 20
PACKS_MAX: Final = 1 << 12
TIPS_MAX: Final = 1 << 12
RULES_MAX: Final = 256

MANIFEST: Final = b"manifest"
PACKS: Final = b"packs"
COMMIT_GRAPH: Final = b"commit-graph"
VOUCHED: Final = b"vouched"
VOUCHED_LISTING: Final = b"vouched/listing"
VOUCHED_MANIFEST: Final = b"vouched/manifest"
"""Listing and manifest of the newest record by an admin, where a later one is somebody else's (`gitpolicy`)."""

SUFFIXES: Final = (b".pack", b".rev", b".idx")
"""In the order in which git may see them: what has an `.idx` is a pack."""

OID_SIZES: Final = {"sha1": 20, "sha256": 32}
"""Bytes of an object's name, by the repository's object format."""

Oid = Annotated[bytes, Meta(min_length=20, max_length=32)]
_RefName = Annotated[bytes, Meta(max_length=NAME_MAX)]


class GitRef(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """`peeled`: what an annotated tag points to in the end; empty for everything else."""

    name: _RefName
    oid: Oid
    peeled: Annotated[bytes, Meta(max_length=32)] = b""


class GitPack(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """`hash`: what the pack ends with. `tips`: what refs were set to when it was added, all of it here or behind
    `prerequisites`; both empty when nothing is known of that. Raw object names throughout."""

    hash: Oid
    objects: Annotated[int, Meta(ge=0, lt=1 << 32)]
    tips: Annotated[list[Oid], Meta(max_length=TIPS_MAX)]
    prerequisites: Annotated[list[Oid], Meta(max_length=TIPS_MAX)]


class GitRule(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """What may be done with refs. `pattern`: a ref's name, or one that ends in `/*` for all below. `protected`: only
    admins of the network move them. `forward`: they are neither deleted nor set to what does not contain them."""

    pattern: _RefName
    protected: bool
    forward: bool

    def covers(self, ref: bytes) -> bool:
        """Whether the rule is about this ref."""
        return ref.startswith(self.pattern[:-1]) if self.pattern.endswith(b"/*") else ref == self.pattern


class GitGraph(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """A commit-graph of commits in the packs. `hash`: what the file ends with. `objects`: how many the packs had when
    it was made."""

    hash: Oid
    objects: Annotated[int, Meta(ge=0, lt=1 << 62)]


class GitManifest(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`head`: the ref that HEAD points to, empty for none. `refs` sorted by name, `packs` the oldest first."""

    format: Annotated[int, Meta(ge=FORMAT, le=FORMAT_WITH_GRAPH)]
    object_format: Annotated[str, Meta(max_length=16)]
    head: _RefName
    refs: Annotated[list[GitRef], Meta(max_length=REFS_MAX)]
    packs: Annotated[list[GitPack], Meta(max_length=PACKS_MAX)]
    rules: Annotated[list[GitRule], Meta(max_length=RULES_MAX)] = []
    graph: GitGraph | None = None

    def ref_map(self) -> dict[bytes, bytes]:
        """Object names by ref."""
        return {ref.name: ref.oid for ref in self.refs}

    def with_rules(self, rules: list[GitRule]) -> "GitManifest":
        """The same with other rules."""
        return msgspec.structs.replace(self, rules=rules)

    def with_graph(self, graph: GitGraph) -> "GitManifest":
        """The same with another commit-graph."""
        return msgspec.structs.replace(self, format=FORMAT_WITH_GRAPH, graph=graph)

    def rules_for(self, ref: bytes) -> tuple[bool, bool]:
        """Whether a ref is protected, and whether it only goes forward."""
        about = [rule for rule in self.rules if rule.covers(ref)]
        return any(rule.protected for rule in about), any(rule.forward for rule in about)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(GitManifest)


def encode_manifest(manifest: GitManifest) -> bytes:
    """The manifest's bytes. Raises `Malformed` for what `decode_manifest` would refuse."""
    fields = msgspec.structs.astuple(manifest)
    data = _encoder.encode(fields if manifest.graph else fields[:-1])
    decode_manifest(data)
    return data


def decode_manifest(data: bytes) -> GitManifest:
    """The manifest in `data`. Raises `Malformed`."""
    if len(data) > MANIFEST_MAX:
        raise Malformed(f"a git manifest of {len(data)} bytes: the most is {MANIFEST_MAX}")
    try:
        manifest = _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise Malformed(f"a git manifest cannot be decoded: {error}") from error
    _check(manifest)
    return manifest


def _check(manifest: GitManifest) -> None:
    size = OID_SIZES.get(manifest.object_format)
    if size is None:
        raise Malformed(f"a git manifest has an unknown object format: {manifest.object_format!r}")
    if (manifest.format == FORMAT_WITH_GRAPH) != (manifest.graph is not None):
        raise Malformed("a git manifest of format 2 has a commit-graph, and no other")
    if manifest.graph is not None and len(manifest.graph.hash) != size:
        raise Malformed("a git manifest names no commit-graph of its object format")
    _check_refs(manifest.refs, size)
    if manifest.head:
        _check_name("HEAD", manifest.head)
    hashes = [pack.hash for pack in manifest.packs]
    if len(set(hashes)) != len(hashes):
        raise Malformed("a git manifest names a pack twice")
    for pack in manifest.packs:
        if any(len(oid) != size for oid in (pack.hash, *pack.tips, *pack.prerequisites)):
            raise Malformed(f"a pack of a git manifest names no {manifest.object_format} object")
    for rule in manifest.rules:
        _check_name("a rule", rule.pattern[:-1] + b"any" if rule.pattern.endswith(b"/*") else rule.pattern)


def _check_refs(refs: Sequence[GitRef], size: int) -> None:
    last = b""
    for ref in refs:
        _check_name("a ref", ref.name)
        if ref.name <= last:
            raise Malformed(f"refs of a git manifest are not sorted or come twice: {ref.name!r}")
        if len(ref.oid) != size or len(ref.peeled) not in (0, size):
            raise Malformed(f"ref {ref.name!r} of a git manifest names no object of its format")
        last = ref.name
    if clash := clash_among(ref.name for ref in refs):
        raise Malformed(f"a git manifest has {clash!r} both as a ref and as a folder of refs")


def _check_name(what: str, name: bytes) -> None:
    if fault := fault_of_ref(name):
        raise Malformed(f"{what} of a git manifest is {name[:80]!r}: {fault}")


def pack_name(pack: bytes) -> str:
    """The name of a pack by its hash, as git has it, without a suffix."""
    return f"pack-{pack.hex()}"


def pack_paths(pack: bytes) -> list[bytes]:
    """Where a pack's files are in the listing: `.pack`, `.rev`, `.idx`."""
    return [PACKS + b"/" + pack_name(pack).encode() + suffix for suffix in SUFFIXES]


def paths_of(manifest: GitManifest) -> list[bytes]:
    """Where the files are that the manifest names."""
    graph = [COMMIT_GRAPH] if manifest.graph else []
    return [path for pack in manifest.packs for path in pack_paths(pack.hash)] + graph


def manifest_entry(entries: Iterable[Entry]) -> Entry:
    """The manifest's own entry of a repository's listing. Raises `Malformed`."""
    for entry in entries:
        if entry.path == MANIFEST and entry.kind == EntryKind.FILE:
            if entry.size > MANIFEST_MAX:
                raise Malformed(f"a git manifest of {entry.size} bytes: the most is {MANIFEST_MAX}")
            return entry
    raise Malformed("a repository has no manifest")


def files_of(manifest: GitManifest, entries: Iterable[Entry]) -> dict[bytes, Entry]:
    """The files that the manifest names, and what is vouched for, by path. Raises `Malformed` unless the listing has
    each of them, and nothing besides."""
    found = {entry.path: entry for entry in entries if entry.kind == EntryKind.FILE and entry.path != MANIFEST}
    wanted = set(paths_of(manifest))
    if VOUCHED_LISTING in found or VOUCHED_MANIFEST in found:
        wanted |= {VOUCHED_LISTING, VOUCHED_MANIFEST}
    if wanted != found.keys():
        strange = min(wanted ^ found.keys())
        raise Malformed(f"manifest and listing of a repository do not agree on {strange!r}")
    return found


def repository_listing(
    link: Link, manifest: GitManifest, files: Mapping[bytes, Entry], vouched: Mapping[bytes, Link]
) -> list[Entry]:
    """The listing of a repository, sorted: its manifest, at `link`, the files that it names, and what is vouched for,
    by path. No times and modes of anybody's machine are in it, so that what is the same has the same link."""
    found = [_plain(MANIFEST, link)]
    found += [_plain(path, files[path].link) for path in paths_of(manifest)]
    found += [_plain(path, link) for path, link in vouched.items()]
    folders = [folder for folder, has in ((PACKS, manifest.packs), (VOUCHED, vouched)) if has]
    found += [Entry(folder, EntryKind.DIRECTORY, 0o755, 0, 0, 0, b"") for folder in folders]
    return sorted(found, key=lambda entry: sort_key(entry.path))


def _plain(path: bytes, link: Link) -> Entry:
    return Entry(path, EntryKind.FILE, 0o444, 0, link.size, link.level, link.hash)
