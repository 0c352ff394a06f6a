"""Commit-graphs: shipped beside the packs, taken from who is believed, and never believed for long."""

import hashlib
import random
import subprocess
from pathlib import Path

import msgspec
import pytest

from forge_p2p.content.gitmanifest import FORMAT, GitGraph, GitManifest, decode_manifest
from forge_p2p.errors import Malformed
from forge_p2p.git.calls import Node
from forge_p2p.git.graphs.checking import checked_commits
from forge_p2p.git.graphs.keeping import FROM_COMMITS
from forge_p2p.node.control import call
from forge_p2p.node.home import Home
from tests.cli.harness import forge
from tests.git.harness import Person, sound
from tests.git.lies import encoded, lie
from tests.git.repository import ENVIRONMENT, Repository

COMMITS = FROM_COMMITS + 100


def history(commits: int, *, first: int = 0) -> bytes:
    """A stream for `git fast-import`: so many commits of a small file, and in the first of them a large one that has
    changed a little since the last time."""
    parts = []
    large = b"%d\n" % first + random.Random(3).randbytes(20_000).hex().encode()
    for number in range(first, first + commits):
        content = b"".join(b"line %d of a text\n" % (number * 7919 % (at + 40)) for at in range(8)) + b"%d\n" % number
        parts.append(
            b"commit refs/heads/main\ncommitter Ada <ada@example.org> %d +0000\ndata 4\nnext\n%b"
            b"M 100644 inline folder/file\ndata %d\n%b\n"
            % (10**9 + number, b"from refs/heads/main^0\n" if first == number and first else b"", len(content), content)
        )
        if number == first:
            parts.append(b"M 100644 inline large\ndata %d\n%b\n" % (len(large), large))
    return b"".join(parts)


def grown(person: Person, path: Path, commits: int, first: int = 0) -> None:
    """Makes so many more commits in a bare repository."""
    stream = person.folder / "stream"
    stream.write_bytes(history(commits, first=first))
    person.git("fast-import", "--quiet", "--force", at=path, stdin=stream)


def manifest_of(person: Person, name: str) -> GitManifest:
    manifest = (
        Node(lambda what, words, sink=None: call(Home(person.home), what, words, None, sink), name).read().manifest
    )
    assert manifest is not None
    return manifest


@pytest.fixture
def large(ada: Person) -> Path:
    """A bare repository with a long history."""
    path = ada.folder / "large.git"
    ada.git("init", "--quiet", "--bare", str(path))
    grown(ada, path, COMMITS)
    return path


@pytest.fixture(params=["sha1", "sha256"])
def graph(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """git's own, of a history with an octopus in it."""
    repository = Repository.create(tmp_path / "r.git", form=request.param)
    for branch in "abcd":
        for number in range(3):
            repository.commit({"f": f"{branch}{number}".encode()}, branch=branch)
    tree = repository.git("rev-parse", "a^{tree}")
    parents = [word for branch in "abcd" for word in ("-p", branch)]
    repository.git("update-ref", "refs/heads/main", repository.git("commit-tree", tree, *parents, "-m", "octopus"))
    repository.git("commit-graph", "write", "--reachable")
    return repository.path / "objects" / "info" / "commit-graph"


def trailer_of(data: bytes | bytearray) -> bytes:
    return bytes(data[-20:] if data[5] == 1 else data[-32:])


def test_what_git_writes_is_taken(graph: Path) -> None:
    assert checked_commits(bytes(graph), trailer_of(graph.read_bytes())) == 13


def test_what_is_taken_leads_git_nowhere(graph: Path, tmp_path: Path) -> None:
    """Whatever is changed: it is refused, or git says itself what is wrong, and neither crashes nor hangs."""
    honest = graph.read_bytes()
    chance = random.Random(5)
    refused = 0
    for _ in range(400):
        data = bytearray(honest)
        for _ in range(chance.choice((1, 1, 4))):
            data[chance.randrange(len(data) - 32)] = chance.choice((0, 1, 0x70, 0x80, 0xFF, chance.randrange(256)))
        graph.chmod(0o644)
        graph.write_bytes(data)
        try:
            checked_commits(bytes(graph), trailer_of(honest))
        except Malformed:
            refused += 1
            continue
        if refused % 8 == 0:
            words = ["git", "rev-list", "--count", "--all"]
            done = subprocess.run(
                words, cwd=graph.parent, env=ENVIRONMENT, capture_output=True, timeout=20, check=False
            )
            assert done.returncode >= 0, bytes(data).hex()
    assert refused > 50


def chunk(data: bytes | bytearray, name: bytes) -> int:
    """Where a chunk begins."""
    at = data.index(name)
    return int.from_bytes(data[at + 4 : at + 12])


@pytest.mark.parametrize("what", ["parent", "edge", "last", "fan-out", "table", "short", "other", "base"])
def test_what_leads_astray_is_refused(what: str, graph: Path) -> None:
    data = bytearray(graph.read_bytes())
    trailer = trailer_of(data)
    rows, edges = chunk(data, b"CDAT"), chunk(data, b"EDGE")
    if what == "parent":
        data[rows + len(trailer) : rows + len(trailer) + 4] = (13).to_bytes(4)
    elif what == "edge":
        data[edges : edges + 4] = (13).to_bytes(4)
    elif what == "last":  # of the octopus's parents: git would read on behind the table
        data[edges + 8] &= 0x7F
    elif what == "fan-out":
        data[chunk(data, b"OIDF") + 4 * 7] = 0x70
    elif what == "table":
        at = data.index(b"CDAT") + 4
        data[at : at + 8] = (1 << 40).to_bytes(8)
    elif what == "short":
        del data[40:60]
    elif what == "base":
        data[7] = 1
    graph.chmod(0o644)
    graph.write_bytes(data)
    with pytest.raises(Malformed, match="a commit-graph"):
        checked_commits(bytes(graph), bytes(len(trailer)) if what == "other" else trailer)


def test_it_comes_with_a_clone(ada: Person, bob: Person, large: Path) -> None:
    ada.forge("git", "publish", str(large), "graphed")
    manifest = manifest_of(ada, "graphed")
    assert manifest.graph is not None
    bob.git("clone", "--quiet", "forge://graphed", "copy")
    copy = bob.folder / "copy"
    path = copy / ".git" / "objects" / "info" / "commit-graph"
    assert checked_commits(bytes(path), manifest.graph.hash) == COMMITS
    bob.git("commit-graph", "verify", at=copy)
    assert forge(bob.home, "git", "verify", str(copy)).returncode == 0
    assert not (copy / ".git" / "forge" / "graph").exists()
    assert checked_commits(bytes(path), manifest.graph.hash) == COMMITS
    tip = bob.commit(copy, "more")
    bob.git("push", "--quiet", "origin", "main", at=copy)
    assert manifest_of(ada, "graphed").graph == manifest.graph, "a push leaves it as it is"
    ada.git("clone", "--quiet", "--bare", "forge://graphed", "whole.git")
    assert ada.git("rev-list", "--count", "main", at=ada.folder / "whole.git") == str(COMMITS + 1)
    assert ada.git("rev-parse", "main", at=ada.folder / "whole.git") == tip
    sound(ada, ada.folder / "whole.git")


def test_it_is_made_anew_as_the_repository_grows(ada: Person, large: Path) -> None:
    ada.forge("git", "publish", str(large), "growing")
    before = manifest_of(ada, "growing").graph
    grown(ada, large, 10, COMMITS)
    ada.forge("git", "publish", str(large), "growing")
    assert manifest_of(ada, "growing").graph == before
    grown(ada, large, COMMITS // 8, COMMITS + 10)
    ada.forge("git", "publish", str(large), "growing")
    assert manifest_of(ada, "growing").graph not in (None, before)
    ada.git("clone", "--quiet", "--bare", "forge://growing", "copy.git")
    ada.git("commit-graph", "verify", at=ada.folder / "copy.git")


def test_small_histories_do_without(ada: Person) -> None:
    ada.forge("git", "publish", str(ada.repository("small")), "small")
    assert (manifest_of(ada, "small").format, manifest_of(ada, "small").graph) == (FORMAT, None)


def forged(person: Person, name: str, repository: Path, *, whole: bool) -> str:
    """Publishes a repository with a commit-graph that says the tip has no parents; as git reads it, or not at all."""
    person.git("commit-graph", "write", "--reachable", at=repository)
    tip = person.git("rev-parse", "main", at=repository)

    def spoil(folder: Path) -> None:
        data = bytearray((repository / "objects" / "info" / "commit-graph").read_bytes())
        count = int.from_bytes(data[chunk(data, b"OIDL") - 4 : chunk(data, b"OIDL")])
        names = [data[chunk(data, b"OIDL") + 20 * at :][:20].hex() for at in range(count)]
        row = chunk(data, b"CDAT") + 36 * names.index(tip)
        data[row + 20 : row + 24] = (0x70000000 if whole else count).to_bytes(4)
        data[-20:] = hashlib.sha1(data[:-20]).digest()
        (folder / "commit-graph").write_bytes(data)
        manifest = decode_manifest((folder / "manifest").read_bytes())
        changed = msgspec.structs.replace(manifest, format=2, graph=GitGraph(bytes(data[-20:]), 5))
        (folder / "manifest").write_bytes(encoded(changed))

    lie(person, name, repository, spoil)
    return tip


@pytest.mark.parametrize("how", ["now", "by hand"])
def test_one_that_lies_is_replaced(how: str, ada: Person, bob: Person) -> None:
    source = ada.folder / "source.git"
    ada.git("init", "--quiet", "--bare", str(source))
    grown(ada, source, 20)
    name = f"forged-{how[:2]}"
    forged(ada, name, source, whole=True)
    bob.git("clone", "--bare", f"forge://{name}", "copy", GIT_CONFIG_VALUE_0="now" if how == "now" else "never")
    copy = bob.folder / "copy"
    if how == "by hand":
        assert bob.git("rev-list", "--count", "main", at=copy) == "1", "git believes what it reads"
        assert forge(bob.home, "git", "verify", str(copy)).returncode == 0
    assert bob.git("rev-list", "--count", "main", at=copy) == "20"
    bob.git("commit-graph", "verify", at=copy)
    assert (copy / "objects" / "info" / "commit-graph").exists()
    sound(bob, copy)


@pytest.mark.parametrize("believed", [True, False])
def test_one_that_cannot_be_used_is_made_here(believed: bool, ada: Person, bob: Person) -> None:
    source = ada.folder / "source.git"
    ada.git("init", "--quiet", "--bare", str(source))
    grown(ada, source, 20)
    name = f"useless-{believed}"
    forged(ada, name, source, whole=not believed)
    trust = "members" if believed else "nobody"
    bob.git("clone", "--bare", "-c", f"forge.trust={trust}", f"forge://{name}", "copy")
    copy = bob.folder / "copy"
    assert not (copy / "objects" / "info" / "commit-graph").exists()
    assert forge(bob.home, "git", "verify", str(copy)).returncode == 0
    assert (copy / "objects" / "info" / "commit-graph").exists()
    bob.git("commit-graph", "verify", at=copy)
    assert bob.git("rev-list", "--count", "main", at=copy) == "20"


def test_one_that_lies_gets_into_no_work_tree(ada: Person, bob: Person) -> None:
    source = ada.folder / "source.git"
    ada.git("init", "--quiet", "--bare", str(source))
    grown(ada, source, 20)
    forged(ada, "forged-work", source, whole=True)
    done = forge(bob.home, "git", "checkout", "forged-work", "main", str(bob.folder / "work"))
    assert done.returncode == 0, done.stderr
    assert bob.git("rev-list", "--count", "HEAD", at=bob.folder / "work") == "20"
