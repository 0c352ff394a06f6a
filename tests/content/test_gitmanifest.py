"""Git manifests: what is encoded is decoded, and what is wrong is refused by one error."""

import subprocess

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge_p2p.content.gitmanifest import (
    COMMIT_GRAPH,
    GitGraph,
    GitManifest,
    GitPack,
    GitRef,
    GitRule,
    decode_manifest,
    encode_manifest,
    files_of,
    manifest_entry,
    pack_paths,
    repository_listing,
)
from forge_p2p.content.gitrefname import clash_among, fault_of_ref
from forge_p2p.content.snapshot import Entry, EntryKind, ListingDecoder, encode_pages
from forge_p2p.errors import Malformed

OID = bytes(range(20))
NAMES = st.lists(st.text("abz/.-@{~^:*\\ é\x01[", min_size=1, max_size=12), min_size=1, max_size=3).map(
    lambda parts: ("refs/heads/" + "/".join(parts)).encode()
)


def manifest(**changes: object) -> GitManifest:
    made = GitManifest(1, "sha1", b"refs/heads/main", [GitRef(b"refs/heads/main", OID)], [GitPack(OID, 3, [OID], [])])
    return msgspec.structs.replace(made, **changes)


def refused(broken: GitManifest) -> str:
    with pytest.raises(Malformed) as caught:
        decode_manifest(msgspec.msgpack.encode(broken))
    return caught.value.message


def test_who_knows_the_first_format_reads_what_has_no_graph() -> None:
    assert msgspec.msgpack.decode(encode_manifest(manifest()))[5:] == [[]]


def test_round_trip() -> None:
    rules = [GitRule(b"refs/heads/*", protected=True, forward=False)]
    made = manifest(rules=rules)
    assert decode_manifest(encode_manifest(made)) == made
    assert made.rules_for(b"refs/heads/a/b") == (True, False)
    assert made.rules_for(b"refs/tags/a") == (False, False)
    wide = bytes(range(32))
    sha256 = GitManifest(1, "sha256", b"", [GitRef(b"refs/tags/v1", wide, wide)], [GitPack(wide, 1, [], [wide])])
    assert decode_manifest(encode_manifest(sha256)) == sha256


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 3}, "cannot be decoded"),
        ({"format": 2}, "format 2 has a commit-graph"),
        ({"graph": GitGraph(OID, 5)}, "format 2 has a commit-graph"),
        ({"format": 2, "graph": GitGraph(bytes(32), 5)}, "no commit-graph of its object format"),
        ({"object_format": "md5"}, "unknown object format"),
        ({"object_format": "sha256"}, "names no object of its format"),
        ({"refs": [GitRef(b"refs/heads/b", OID), GitRef(b"refs/heads/a", OID)]}, "not sorted"),
        ({"refs": [GitRef(b"refs/heads/a", OID), GitRef(b"refs/heads/a", OID)]}, "not sorted or come twice"),
        ({"refs": [GitRef(b"refs/heads/a", OID), GitRef(b"refs/heads/a/b", OID)]}, "both as a ref and as a folder"),
        ({"refs": [GitRef(b"refs/stash", OID), GitRef(b"refs/stash/b", OID)]}, "both as a ref and as a folder"),
        (
            {"refs": [GitRef(name, OID) for name in (b"refs/heads/a", b"refs/heads/a-b", b"refs/heads/a/b")]},
            "both as a ref and as a folder",
        ),
        ({"refs": [GitRef(b"refs/heads/a", OID, bytes(32))]}, "names no object"),
        ({"head": b"../../config"}, "HEAD of a git manifest"),
        ({"packs": [GitPack(OID, 1, [], []), GitPack(OID, 1, [], [])]}, "a pack twice"),
        ({"packs": [GitPack(OID, 1, [bytes(32)], [])]}, "names no sha1 object"),
        ({"rules": [GitRule(b"/*", protected=True, forward=True)]}, "a rule of a git manifest"),
    ],
)
def test_what_is_wrong_is_refused(changes: dict[str, object], said: str) -> None:
    assert said in refused(manifest(**changes))


@given(st.binary(max_size=300))
def test_garbage_raises_the_one_error(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode_manifest(data)


@given(st.data())
def test_a_changed_byte_is_refused_or_still_a_manifest(data: st.DataObject) -> None:
    encoded = bytearray(encode_manifest(manifest()))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = decode_manifest(bytes(encoded))
    except Malformed:
        return
    assert not any(fault_of_ref(ref.name) for ref in found.refs)


@settings(max_examples=60)
@given(NAMES)
def test_no_ref_gets_by_that_git_refuses(name: bytes) -> None:
    by_git = subprocess.run(["git", "check-ref-format", name], check=False, stderr=subprocess.DEVNULL).returncode
    assert by_git == 0 or fault_of_ref(name), name


@pytest.mark.parametrize(
    "name", [b"refs/heads/main", b"refs/tags/v1.0", "refs/heads/naïve-雪".encode(), b"refs/notes/x"]
)
def test_ordinary_refs_are_allowed(name: bytes) -> None:
    assert not fault_of_ref(name)


@pytest.mark.parametrize(
    "name",
    [b"HEAD", b"refs/heads", b"refs/", b"heads/x", b"refs/heads/" + b"x" * 251, b"refs/heads/" + b"x/" * 600 + b"x"],
)
def test_others_are_not(name: bytes) -> None:
    assert fault_of_ref(name)


def test_clashes() -> None:
    assert clash_among([b"refs/heads/a/b/c", b"refs/heads/a"]) == b"refs/heads/a"
    assert clash_among([b"refs/heads/a-b", b"refs/heads/a", b"refs/tags/a/b"]) is None


def test_a_listing_and_its_manifest_agree() -> None:
    made = manifest().with_graph(GitGraph(OID, 3))
    assert decode_manifest(encode_manifest(made)) == made
    file = Entry(b"x", EntryKind.FILE, 0o600, 7, 5, 0, bytes(32))
    files = dict.fromkeys([*pack_paths(OID), COMMIT_GRAPH], file)
    listing = repository_listing(file.link, made, files, {})
    decoder = ListingDecoder()
    assert [each for page in encode_pages(listing) for each in decoder.feed(page)] == listing
    assert manifest_entry(listing).mode == 0o444
    assert files_of(made, listing).keys() == files.keys()
    assert {each.path for each in listing if each.kind == EntryKind.FILE} == {b"manifest", *files}
    for wrong in (listing[:-1], [*listing, Entry(b"packs/zzz", EntryKind.FILE, 0o444, 0, 5, 0, bytes(32))]):
        with pytest.raises(Malformed, match="do not agree"):
            files_of(made, wrong)
    with pytest.raises(Malformed, match="no manifest"):
        manifest_entry([each for each in listing if each.path != b"manifest"])
