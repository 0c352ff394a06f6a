"""Harder compression in the background: smaller, the same content, and never twice."""

from pathlib import Path

from tests.store.inputs import blob, fill, hashes, items, named, noise, open_bare, text


def test_what_is_old_becomes_smaller_and_stays_the_same(tmp_path: Path) -> None:
    store = open_bare(tmp_path / "store")
    inline = [named(b"%d" % n + text(n, 9000)) for n in range(20)]
    sliced = [named(b"%d" % n + text(n, 60_000)) for n in range(30)]
    stubborn = [named(noise(n, 60_000)) for n in range(80)]
    fill(store, inline)
    fill(store, sliced + stubborn, group=1)
    before = store.statistics()
    assert store.recompress(3600.0, 60.0).chunks == 0
    done = store.recompress(-1.0, 120.0)
    assert done.done
    assert 0 < done.chunks <= len(inline) + len(sliced)
    after = store.statistics()
    assert after.total.stored_bytes == before.total.stored_bytes - done.saved_bytes
    assert (after.total.chunks, after.total.raw_bytes) == (before.total.chunks, before.total.raw_bytes)
    assert after.codecs["raw"] == before.codecs["raw"]
    everything = inline + sliced + stubborn
    assert store.read_many(hashes(everything)) == [raw for _, raw in everything]
    again = store.recompress(-1.0, 120.0)
    assert (again.chunks, again.done) == (0, True)
    assert store.verify().corrupt == []
    assert store.rebuild().chunks == len(everything)
    store.close()


def test_time_runs_out_and_the_rest_is_done_later(tmp_path: Path) -> None:
    store = open_bare(tmp_path / "store")
    chunks = [named(b"%d" % n + text(n, 60_000) + noise(n, 50_000)) for n in range(24)]
    fill(store, chunks, group=1)
    store.pin("some", blob(chunks[0]))
    assert not store.recompress(-1.0, 0.0).done
    while not store.recompress(-1.0, 0.05).done:
        assert store.missing(hashes(chunks)) == []
    assert store.recompress(-1.0, 60.0).chunks == 0
    assert store.read_many(hashes(chunks)) == [raw for _, raw in chunks]
    store.close()


def test_nothing_of_an_empty_store(tmp_path: Path) -> None:
    store = open_bare(tmp_path / "store")
    assert store.recompress(0.0, 1.0).done
    fill(store, items(1))
    store.close()
