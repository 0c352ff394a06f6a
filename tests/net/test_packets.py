"""The clear fields of packets from strangers: read without ever failing."""

from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.net.packets import destination_id, read_initial, runs
from tests.net.hostile import initial_packet, make_hello

HELLO = make_hello()


def test_a_real_initial_packet() -> None:
    packet = initial_packet(HELLO, token=b"t" * 100, destination_id=b"12345678")
    initial = read_initial(packet)
    assert initial is not None
    assert (initial.destination_id, initial.source_id, initial.token) == (b"12345678", HELLO.source_id, b"t" * 100)
    assert destination_id(packet) == b"12345678"
    assert read_initial(packet[:1199]) is None
    assert read_initial(b"\xe0" + packet[1:]) is None, "a Handshake packet begins nothing"
    assert read_initial(packet[:1] + b"\x6b\x33\x43\xcf" + packet[5:]) is None, "version 2"


LONG_HEADER = st.binary(min_size=0, max_size=64).map(lambda head: (b"\xc3\0\0\0\1" + head).ljust(1200, b"\0"))


@given(st.one_of(st.binary(min_size=1, max_size=1300), LONG_HEADER))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    assert len(destination_id(data)) <= 255
    initial = read_initial(data)
    if initial is not None:
        assert 8 <= len(initial.destination_id) <= 20
        assert len(initial.source_id) <= 20
        assert initial.token in data


SEGMENTS = st.lists(
    st.tuples(st.sampled_from([0x40, 0x41, 0xC0]), st.sampled_from([b"aaaaaaaa", b"bbbbbbbb"])), min_size=1, max_size=12
)


@given(SEGMENTS, st.integers(9, 30), st.integers(1, 30))
def test_runs_are_for_one_connection_each_and_lose_nothing(
    packets: list[tuple[int, bytes]], size: int, last: int
) -> None:
    segments = [(bytes([first]) + connection).ljust(size, b".") for first, connection in packets]
    segments[-1] = segments[-1][: min(last, size)]
    data = b"".join(segments)
    cuts = runs(data, size)
    assert b"".join(data[start:end] for start, end in cuts) == data
    for start, end in cuts:
        assert start % size == 0
        inside = [data[at : at + size] for at in range(start, end, size)]
        assert len({segment[1:9] for segment in inside}) == 1
        assert len(inside) == 1 or all(segment[0] < 0x80 for segment in inside)
