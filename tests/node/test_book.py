"""A home that writes, loses records and forks at random, and readers who ask it now and then: what a reader has seen it
never gives up, and it never believes two histories."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from forge_p2p.content.ref import BadRef, RefFlaw, RefRecord, verify_step
from forge_p2p.node.home import Home
from forge_p2p.node.local import LocalNode
from forge_p2p.node.refs.book import Authority, Book
from forge_p2p.node.refs.homes import read_since
from forge_p2p.proto.revocations import RevocationSet
from tests.content.logs import HOME, NAME, record, root, writer
from tests.content.networks import World
from tests.node.harness import CONFIG

WORLD = World(now=int(time.time()) - 3600)
AUTHORS = [writer(WORLD, 20), writer(WORLD, 21)]
READERS = 2

writes = st.tuples(st.just("write"), st.integers(0, 1))
losses = st.tuples(st.just("lose"), st.integers(1, 3))
reads = st.tuples(st.just("read"), st.integers(0, READERS - 1))
steps = st.lists(st.one_of(writes, writes, reads, reads, losses), max_size=24)


@contextmanager
def nodes(count: int) -> Iterator[list[LocalNode]]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        yield [stack.enter_context(LocalNode(Home(Path(folder) / str(n)), CONFIG)) for n in range(count)]


def log_of(node: LocalNode) -> list[RefRecord]:
    return node.refs.range(WORLD.id, NAME, 1, 100)


@settings(max_examples=60)
@given(steps, st.integers(1, 3))
def test_what_was_seen_is_not_given_up(steps: list[tuple[str, int]], count: int) -> None:
    authority = Authority(RevocationSet(WORLD.id), HOME)
    with nodes(READERS + 1) as (home, *readers):
        books = [Book(reader, lambda network: authority) for reader in readers]
        for number, (action, which) in enumerate(steps):
            if action == "write":
                head = home.refs.head(WORLD.id, NAME)
                home.refs.put(record(WORLD, AUTHORS[which], head, target=root(number)))
            elif action == "lose":
                kept = log_of(home)[:-which]
                home.refs.drop(WORLD.id)
                home.refs.put_all(kept)
            else:
                read(home, readers[which], books[which], count)


def read(home: LocalNode, reader: LocalNode, book: Book, count: int) -> None:
    before, there = log_of(reader), log_of(home)
    since = read_since(home.refs.log(WORLD.id), NAME, len(before) + 1, count)
    newest: RefRecord | None = None
    flaw: RefFlaw | None = None
    try:
        newest = book.adopt(WORLD.id, NAME, since, HOME)
    except BadRef as error:
        flaw = error.flaw
    if there[: len(before)] != before:
        assert flaw is (RefFlaw.ROLLED_BACK if len(there) < len(before) else RefFlaw.FORKED)
        assert log_of(reader) == before
        return
    assert flaw is None
    after = log_of(reader)
    assert after == there[: len(before) + count]
    assert newest == (after[-1] if after else None)
    previous = None
    for each in after:
        verify_step(each, previous)
        previous = each
