"""Sizes, durations and rates as people write and read them."""

import re
from collections.abc import Mapping

from forge_p2p.errors import UsageError

_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", re.ASCII)

_SIZES = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "k": 2**10,
    "m": 2**20,
    "g": 2**30,
    "t": 2**40,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_BITS = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
_DURATIONS = {"": 1.0, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def parse_size(text: str) -> int:
    """Bytes: "10GB" is 10**10, "10GiB" and "10G" are 10 * 2**30, "4096" is itself. Raises `UsageError`."""
    number, factor = _parsed(text, _SIZES, "a size", 'write it like "500MB", "10GiB" or "4096"')
    return round(number * factor)


def parse_duration(text: str) -> float:
    """Seconds: "30s", "15min", "12h", "1d", "2w", or a plain number. Raises `UsageError`."""
    number, factor = _parsed(text, _DURATIONS, "a duration", 'write it like "30s", "15min", "12h" or "1d"')
    return number * factor


def parse_rate(text: str) -> float:
    """Bytes a second: "10MB/s", "500 KiB/s", "100Mbit/s", or as a size. Raises `UsageError`."""
    units = {**_SIZES, **{name: bits / 8 for name, bits in _BITS.items()}}
    hint = 'write it like "10MB/s" or "100Mbit/s"'
    number, factor = _parsed(text.strip().removesuffix("/s"), units, "a rate", hint)
    return number * factor


def _parsed(text: str, units: Mapping[str, float], what: str, hint: str) -> tuple[float, float]:
    match = _QUANTITY.fullmatch(text)
    factor = units.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise UsageError(f"{text!r} is not {what}", hint=hint)
    return float(match[1]), factor


def format_size(size: float) -> str:
    """ "999 B", "1.5 kB", "534.0 MB": decimal units, as disks and networks count."""
    if abs(size) < 1000:
        return f"{size:.0f} B"
    for unit in ("kB", "MB", "GB", "TB"):
        size /= 1000
        if abs(size) < 999.95:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} PB"


def format_duration(seconds: float) -> str:
    """ "0.04 s", "12.3 s", "4 min 20 s", "3 h 5 min", "2 d 4 h": two figures that matter."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, smaller_size, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller_size
            return f"{whole // size} {unit} {rest} {smaller}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def format_count(count: int, noun: str, plural: str = "") -> str:
    """ "1 file", "32,362 files"."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
