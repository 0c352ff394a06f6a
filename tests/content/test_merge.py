"""Three-way merges of listings: named cases, and what holds for all."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from forge_p2p.content.folding import fold
from forge_p2p.content.link import hash_bytes
from forge_p2p.content.merge import Merge, Side, advance, merge
from forge_p2p.content.paths import MAX_NAME, MAX_PATH, check_path
from forge_p2p.content.snapshot import Entry, EntryKind, ListingDecoder, encode_pages, sort_key

NOON = 1_800_000_000 * 10**9


def file(path: str, content: str, mode: int = 0o644, mtime_ns: int = NOON) -> Entry:
    data = content.encode()
    return Entry(path.encode(), EntryKind.FILE, mode, mtime_ns, len(data), 0, hash_bytes(data))


def folder(path: str, mode: int = 0o755) -> Entry:
    return Entry(path.encode(), EntryKind.DIRECTORY, mode, 0, 0, 0, b"")


def symlink(path: str, target: str) -> Entry:
    return Entry(path.encode(), EntryKind.SYMLINK, 0o777, 0, 0, 0, target.encode())


def merged(base: list[Entry], mine: list[Entry], theirs: list[Entry], *, folds: bool = False) -> Merge:
    found = merge(_sorted(base), Side(_sorted(mine), "ada"), Side(_sorted(theirs), "bob"), folds=folds)
    assert_sound(found.entries)
    return found


def _sorted(entries: list[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: sort_key(entry.path))


def assert_sound(entries: list[Entry]) -> None:
    """Every reader accepts it."""
    decoder = ListingDecoder()
    assert decoder.feed(b"".join(encode_pages(entries))) == entries
    decoder.finish()


def names(found: Merge) -> list[str]:
    return [entry.path.decode() for entry in found.entries]


def test_each_side_has_its_way_where_only_it_changed() -> None:
    base = [file("a", "1"), file("b", "1"), file("c", "1")]
    mine = [file("a", "2"), file("b", "1"), file("c", "1"), file("new", "1")]
    theirs = [file("a", "1"), file("b", "3")]
    found = merged(base, mine, theirs)
    assert found.entries == [file("a", "2"), file("b", "3"), file("new", "1")]
    assert found.take == [file("b", "3")]
    assert found.remove == [b"c"]
    assert not found.conflicts


def test_two_edits_leave_two_versions() -> None:
    older, younger = file("plan.txt", "mine", mtime_ns=NOON), file("plan.txt", "theirs", mtime_ns=NOON + 10**9)
    found = merged([file("plan.txt", "base")], [older], [younger])
    copy = "plan (conflict of ada 2027-01-15 08.00).txt"
    assert names(found) == [copy, "plan.txt"]
    assert found.entries[1] == younger
    assert [(each.path, each.copy, each.owner) for each in found.conflicts] == [(b"plan.txt", copy.encode(), "ada")]


def test_a_conflict_merged_again_makes_no_second_copy() -> None:
    base, mine = [file("plan", "base")], [file("plan", "mine")]
    once = merged(base, mine, [file("plan", "theirs", mtime_ns=NOON + 1)])
    again = merged(base, mine, once.entries)
    assert again.entries == once.entries


def test_a_taken_name_is_not_taken_twice() -> None:
    taken = file("plan (CONFLICT of ada 2027-01-15 08.00)", "another")
    found = merged(
        [file("plan", "base"), taken], [file("plan", "mine"), taken], [file("plan", "theirs", mtime_ns=NOON + 1), taken]
    )
    assert "plan (conflict of ada 2027-01-15 08.00 2)" in names(found)


def test_equal_edits_are_no_conflict() -> None:
    mine, theirs = file("a", "2", 0o755, NOON + 5), file("a", "2", 0o644, NOON + 9)
    found = merged([file("a", "1")], [mine], [theirs])
    assert found.entries == [file("a", "2", 0o755, NOON + 9)]
    assert not found.conflicts


def test_first_sync_of_equal_trees() -> None:
    found = merged([], [file("a", "1", 0o600, 5)], [file("a", "1", 0o755, 7)])
    assert found.entries == [file("a", "1", 0o700, 7)]


def test_an_edit_outlives_a_deletion() -> None:
    base = [folder("d"), file("d/a", "1"), file("d/b", "1")]
    assert names(merged(base, [], [folder("d"), file("d/a", "2"), file("d/b", "1")])) == ["d", "d/a"]
    assert names(merged(base, [folder("d"), file("d/a", "1", 0o755), file("d/b", "1")], [])) == ["d", "d/a"]


def test_a_touched_file_is_not_edited() -> None:
    assert not merged([file("a", "1")], [file("a", "1", mtime_ns=5)], []).entries


def test_a_deleted_directory_lives_on_for_what_was_added() -> None:
    base = [folder("d"), folder("d/e"), file("d/e/old", "1")]
    assert names(merged(base, [], [*base, file("d/e/new", "2")])) == ["d", "d/e", "d/e/new"]
    assert names(merged(base, [], base)) == []


def test_a_new_empty_directory_stays() -> None:
    assert names(merged([], [folder("mine")], [folder("theirs")])) == ["mine", "theirs"]


def test_a_file_against_a_directory() -> None:
    found = merged([], [file("x", "1")], [folder("x"), file("x/y", "2")])
    assert names(found) == ["x", "x (conflict of ada 2027-01-15 08.00)", "x/y"] or names(found) == [
        "x",
        "x/y",
        "x (conflict of ada 2027-01-15 08.00)",
    ]


def test_a_directory_replaced_by_a_file_while_something_in_it_was_edited() -> None:
    base = [folder("x"), file("x/y", "1")]
    found = merged(base, [file("x", "mine")], [folder("x"), file("x/y", "2")])
    assert {"x", "x/y", "x (conflict of ada 2027-01-15 08.00)"} == set(names(found))
    assert merged(base, [file("x", "mine")], base).entries == [file("x", "mine")]


def test_the_executable_bit_is_merged_by_itself() -> None:
    found = merged([file("run", "1")], [file("run", "1", 0o755)], [file("run", "2")])
    assert found.entries == [file("run", "2", 0o755)]
    assert not found.conflicts


def test_a_kind_changes() -> None:
    base = [file("a", "1")]
    assert merged(base, base, [symlink("a", "b")]).entries == [symlink("a", "b")]
    found = merged(base, [file("a", "2")], [symlink("a", "b")])
    assert found.entries == [file("a", "2"), symlink("a (conflict of bob)", "b")]


def test_names_that_only_differ_in_case() -> None:
    mine, theirs = [file("Readme", "1")], [file("README", "2")]
    assert names(merged([], mine, theirs)) == ["README", "Readme"]
    assert names(merged([], mine, theirs, folds=True)) == ["README (conflict of bob 2027-01-15 08.00)", "Readme"]
    assert names(merged([], mine, [file("README", "1")], folds=True)) == ["Readme"]
    assert names(merged(mine, mine, [file("README", "1")], folds=True)) == ["README"]


def test_directories_that_only_differ_in_case() -> None:
    found = merged([], [folder("Docs"), file("Docs/a", "1")], [folder("docs"), file("docs/b", "2")], folds=True)
    assert names(found) == ["Docs", "Docs/a", "Docs/b"]


def test_long_names_are_cut() -> None:
    long = "é" * 120 + ".txt"
    found = merged([file(long, "0")], [file(long, "1")], [file(long, "2", mtime_ns=NOON + 1)])
    copy = found.conflicts[0].copy
    assert len(copy) <= MAX_NAME
    assert copy.decode().endswith(".txt")
    deep = "/".join(["d" * 250] * 16)
    parents = [folder("/".join(["d" * 250] * depth)) for depth in range(1, 17)]
    path = deep + "/" + "x" * (MAX_PATH - len(deep) - 1)
    found = merged(
        [*parents, file(path, "0")], [*parents, file(path, "1")], [*parents, file(path, "2", mtime_ns=NOON + 1)]
    )
    assert len(found.entries) == len(parents) + 2


# What holds for all


@dataclass(frozen=True)
class Leaf:
    content: int
    mode: int
    mtime: int
    is_link: bool


NAMES = st.sampled_from(["a", "b", "B", "c.txt", "a (conflict of ada 1970-01-01 00.00)", "\u00e9", "e\u0301"])
LEAVES = st.builds(
    Leaf,
    st.integers(0, 3),
    st.sampled_from([0o644, 0o755, 0o600]),
    st.integers(1, 3),
    st.sampled_from([False] * 4 + [True]),
)
Tree = dict[str, "Leaf | Tree"]
TREES: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(NAMES, LEAVES, max_size=4),
    lambda trees: st.dictionaries(NAMES, LEAVES | trees, max_size=4),
    max_leaves=8,
)


def entries(tree: Tree, prefix: str = "") -> list[Entry]:
    found = []
    for name, node in tree.items():
        path = prefix + name
        if isinstance(node, dict):
            found += [folder(path), *entries(node, path + "/")]
        elif node.is_link:
            found.append(symlink(path, str(node.content)))
        else:
            found.append(file(path, str(node.content), node.mode, node.mtime))
    return _sorted(found)


LISTINGS = TREES.map(entries)


def versions(listing: list[Entry]) -> set[tuple[int, bytes]]:
    """What there is to lose."""
    return {(entry.kind, entry.payload) for entry in listing if entry.kind != EntryKind.DIRECTORY}


def edits(base: list[Entry], side: list[Entry]) -> list[Entry]:
    known = {entry.path: entry for entry in base}
    return [
        entry
        for entry in side
        if entry.kind != EntryKind.DIRECTORY
        and (
            entry.path not in known
            or (known[entry.path].kind, known[entry.path].payload) != (entry.kind, entry.payload)
        )
    ]


@given(LISTINGS, LISTINGS)
def test_a_side_that_changed_nothing_takes_all(base: list[Entry], other: list[Entry]) -> None:
    for found in (merged(base, other, base), merged(base, base, other), merged(base, other, other)):
        assert found.entries == other
        assert not found.conflicts
    paths = {entry.path for entry in (*base, *other)}
    if len({fold(path) for path in paths}) == len(paths):  # then it is looked at path by path, and comes to the same
        for mine, theirs in ((other, base), (base, other)):
            assert merged(base, mine, theirs, folds=True) == merged(base, mine, theirs)


@given(LISTINGS, LISTINGS, LISTINGS)
def test_both_sides_end_with_the_same(base: list[Entry], mine: list[Entry], theirs: list[Entry]) -> None:
    one = merge(base, Side(mine, "ada"), Side(theirs, "bob"))
    other = merge(base, Side(theirs, "bob"), Side(mine, "ada"))
    assert one.entries == other.entries
    assert one.conflicts == other.conflicts


@given(LISTINGS, LISTINGS, LISTINGS, st.booleans())
def test_no_edit_is_lost(base: list[Entry], mine: list[Entry], theirs: list[Entry], folds: bool) -> None:
    found = merged(base, mine, theirs, folds=folds)
    there = versions(found.entries)
    for entry in edits(base, mine) + edits(base, theirs):
        assert (entry.kind, entry.payload) in there
    for conflict in found.conflicts:
        check_path(conflict.copy)
    if folds:
        assert len({fold(entry.path) for entry in found.entries}) == len(found.entries)


@given(LISTINGS, LISTINGS, LISTINGS)
def test_merging_again_changes_nothing(base: list[Entry], mine: list[Entry], theirs: list[Entry]) -> None:
    """Whether the result came back as theirs, as mine, or the base had been moved on or not."""
    found = merged(base, mine, theirs)
    assert merged(base, mine, found.entries).entries == found.entries
    assert merged(mine, mine, found.entries).entries == found.entries
    assert merged(found.entries, found.entries, found.entries).entries == found.entries


@given(LISTINGS, LISTINGS, LISTINGS)
def test_the_steps_lead_there(base: list[Entry], mine: list[Entry], theirs: list[Entry]) -> None:
    found = merged(base, mine, theirs)
    now = {entry.path: entry for entry in mine}
    for path in found.remove:
        assert not any(other.startswith(path + b"/") for other in now), "contents go before their directory"
        del now[path]
    for entry in found.take:
        now[entry.path] = entry
    assert sorted(now.values(), key=lambda entry: sort_key(entry.path)) == found.entries
    assert found.kept + len(found.take) == len(found.entries)


@settings(max_examples=60)
@given(LISTINGS, st.lists(st.tuples(st.integers(0, 2), LISTINGS), max_size=6), st.randoms(use_true_random=False))
def test_replicas_converge_through_a_name(
    start: list[Entry], changes: list[tuple[int, list[Entry]]], chance: object
) -> None:
    """Three replicas edit and sync in any order with one name; then all sync until nothing moves."""
    name = start
    replicas = [start] * 3
    bases = [start] * 3

    def sync(at: int) -> None:
        nonlocal name
        made = edits(bases[at], replicas[at])
        found = merged(bases[at], replicas[at], name).entries
        assert {(entry.kind, entry.payload) for entry in made} <= versions(found)
        name = replicas[at] = bases[at] = found

    for at, listing in changes:
        replicas[at] = listing
        if chance.random() < 0.6:  # type: ignore[attr-defined]
            sync(at)
    for _ in range(2):
        for at in range(3):
            sync(at)
    assert replicas == [name] * 3


@settings(max_examples=60)
@given(LISTINGS, st.lists(st.tuples(st.integers(0, 2), LISTINGS), max_size=6), st.randoms(use_true_random=False))
def test_replicas_converge_in_pairs(start: list[Entry], changes: list[tuple[int, list[Entry]]], chance: object) -> None:
    """The same without a name, along a line: neighbours merge with what they last had in common. (In a ring an addition
    and its deletion may chase each other for ever, which is one reason why a name has one log.)"""
    replicas = [start] * 3
    bases = [start] * 2
    owners = ["ada", "bob", "cleo"]

    def sync(one: int) -> None:
        left, right = Side(replicas[one], owners[one]), Side(replicas[one + 1], owners[one + 1])
        bases[one] = replicas[one] = replicas[one + 1] = merge(bases[one], left, right).entries

    for at, listing in changes:
        replicas[at] = listing
        if chance.random() < 0.6:  # type: ignore[attr-defined]
            sync(at % 2)
    for _ in range(2):
        sync(0)
        sync(1)
    assert replicas[0] == replicas[1] == replicas[2]


@given(LISTINGS, LISTINGS, LISTINGS)
def test_a_base_moves_on_as_far_as_the_directory_did(
    common: list[Entry], target: list[Entry], found: list[Entry]
) -> None:
    base = advance(common, target, found)
    assert_sound(base)
    reached = {entry.path for entry in advance(common, target, target)} ^ {entry.path for entry in target}
    assert not reached


@given(LISTINGS, LISTINGS, LISTINGS)
def test_what_was_not_reached_is_taken_again(mine: list[Entry], target: list[Entry], found: list[Entry]) -> None:
    """Only half of a target was written, and somebody edited: the next merge keeps both."""
    half = advance(mine, target, found)
    again = merged(half, half, target)
    assert again.entries == target
    after = merged(advance(mine, target, found), found, target)
    for entry in edits(half, found):
        assert (entry.kind, entry.payload) in versions(after.entries)
