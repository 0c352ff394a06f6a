"""Sizes and durations, read and written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.cli.units import format_count, format_duration, format_size, parse_duration, parse_rate, parse_size
from forge_p2p.errors import UsageError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("1kB", 1000),
        ("10 GB", 10**10),
        ("10GiB", 10 * 2**30),
        ("1.5M", 3 * 2**19),
        ("2t", 2**41),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("0", 0),
        ("10MB/s", 10**7),
        ("500 KiB/s", 512_000),
        ("100Mbit/s", 12_500_000),
        ("1 gbit/s", 125_000_000),
        ("64k", 65_536),
    ],
)
def test_rates(text: str, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("30s", 30),
        ("15min", 900),
        ("15m", 900),
        ("12h", 43200),
        ("1d", 86400),
        ("2w", 1209600),
        ("0.5 s", 0.5),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "GB", "-1", "1e9", "1 GB 2", "1 month", "٣", "1XB", "inf", "nan"])
def test_neither(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size"):
        parse_size(text)
    with pytest.raises(UsageError, match="is not a duration"):
        parse_duration(text)


@given(st.integers(0, 10**17))
def test_size_reads_back_within_rounding(size: int) -> None:
    number, unit = format_size(size).split()
    if unit != "PB":
        assert parse_size(number + unit) == pytest.approx(size, rel=0.051)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (534_000_000, "534.0 MB"),
    ],
)
def test_written_sizes(size: int, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.042, "0.04 s"),
        (12.34, "12.3 s"),
        (59.96, "1 min"),
        (260, "4 min 20 s"),
        (3600, "1 h"),
        (11_100, "3 h 5 min"),
        (187_200, "2 d 4 h"),
    ],
)
def test_written_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_counts() -> None:
    assert [format_count(count, "file") for count in (0, 1, 32362)] == ["0 files", "1 file", "32,362 files"]
