import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.wire.varint import VARINT_MAX, decode_varint, encode_varint


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("c2197c5eff14e88c", 151_288_809_941_952_652),
        ("9d7f3e7d", 494_878_333),
        ("7bbd", 15_293),
        ("25", 37),
        ("4025", 37),
    ],
)
def test_examples_of_rfc_9000(form: str, value: int) -> None:
    """Appendix A.1, the longer form of 37 included."""
    data = bytes.fromhex(form)
    assert decode_varint(data, 0) == (value, len(data))


@pytest.mark.parametrize(
    ("value", "size"),
    [(0, 1), (63, 1), (64, 2), (16_383, 2), (16_384, 4), (2**30 - 1, 4), (2**30, 8), (VARINT_MAX, 8)],
)
def test_sizes(value: int, size: int) -> None:
    assert len(encode_varint(value)) == size


@pytest.mark.parametrize("value", [-1, VARINT_MAX + 1])
def test_what_does_not_fit(value: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        encode_varint(value)


@given(st.integers(0, VARINT_MAX), st.binary(max_size=3), st.binary(max_size=3))
def test_round_trip(value: int, before: bytes, after: bytes) -> None:
    form = encode_varint(value)
    assert decode_varint(before + form + after, len(before)) == (value, len(before) + len(form))
    for cut in range(len(form)):
        assert decode_varint(form[:cut], 0) is None
