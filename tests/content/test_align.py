"""Which old chunk is the base of a new one."""

from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.align import Version
from forge_p2p.content.link import Link, hash_bytes
from forge_p2p.content.tree import TreeBuilder
from forge_p2p.ids import Hash


def links(names: str, size: int = 100) -> list[Link]:
    return [Link(hash_bytes(name.encode()), size, 0) for name in names]


def bases(old: str, new: str) -> dict[str, str]:
    """By name; each link has 100 bytes."""
    known = {link.hash: name for name, link in zip(old + new, links(old + new), strict=True)}
    version = Version(Link(Hash(bytes(32)), 100 * len(old), 1), [links(old)])
    return {known[chunk]: known[base] for chunk, base in version.pair(links(new))}


def test_what_changed_has_the_chunk_in_its_place() -> None:
    assert bases("abcdef", "abXdef") == {"X": "c"}
    assert bases("abcdef", "Xbcdef") == {"X": "a"}
    assert bases("abcdef", "abcdeX") == {"X": "f"}
    assert bases("abcdef", "abXYef") == {"X": "c", "Y": "d"}
    assert bases("a", "X") == {"X": "a"}


def test_a_chunk_that_was_split_or_merged() -> None:
    assert bases("abcdef", "abXYdef") == {"X": "c", "Y": "c"}
    assert bases("abcdef", "abXef") == {"X": "c"}


def test_what_was_put_between_has_no_base() -> None:
    assert bases("abcdef", "abcXdef") == {}
    assert bases("abcdef", "abcdefX") == {}
    assert bases("", "abc") == {}


def test_anchors_may_have_moved() -> None:
    assert bases("abcdef", "fabXde") == {"X": "c"}
    assert bases("abcdef", "eXaY") == {"X": "f", "Y": "b"}


@given(st.text("abcdefgh", max_size=12), st.text("abcdefghxyz", min_size=1, max_size=12), st.integers(0, 12))
def test_pairs_are_of_new_and_old_however_the_new_come(old: str, new: str, cut: int) -> None:
    version = Version(Link(Hash(bytes(32)), 100 * len(old), 1), [links(old)])
    parts = [part for part in (new[:cut], new[cut:]) if part]
    pairs = [pair for part in parts for pair in version.pair(links(part))]
    here, there = {link.hash for link in links(old)}, {link.hash for link in links(new)}
    assert all(base in here and chunk in there - here for chunk, base in pairs)


def test_reading_finds_every_level() -> None:
    builder = TreeBuilder()
    builder.add_all((hash_bytes(str(number).encode()), 1000) for number in range(5000))
    root = builder.finish()
    nodes = dict(builder.take_nodes())
    version = Version.read(root, nodes.__getitem__)
    changed = TreeBuilder()
    changed.add_all((hash_bytes(str(number).encode() if number != 2500 else b"new"), 1000) for number in range(5000))
    other = changed.finish()
    assert root.level == other.level == 2
    assert version.pair([other]) == [(other.hash, root.hash)]
    fresh = dict(changed.take_nodes()).keys() - nodes.keys()
    assert len(fresh) == 2, "one node a level"


def test_where_an_old_chunk_lay() -> None:
    version = Version(Link(Hash(bytes(32)), 300, 1), [links("abc")])
    found = [version.offset(link.hash) for link in links("cax")]
    assert found == [200, 0, None]
