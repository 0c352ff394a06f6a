"""The Range header (RFC 9110, section 14): which bytes of a content are asked for."""

import re
from typing import Final

RANGES_MAX: Final = 8
"""Ranges of one request. RFC 9110, 14.2: many small or overlapping ones are an attack or a mistake."""

_SPEC = re.compile(r"\s*(\d{0,19})-(\d{0,19})\s*", re.ASCII)

Span = tuple[int, int]
"""First byte, and the one after the last."""


class Unsatisfiable(Exception):
    """No byte of the content is in the ranges, or there are too many of them: 416."""


def parse_ranges(header: str, size: int) -> list[Span] | None:
    """The spans asked for of a content of `size` bytes, sorted, those that touch made one; `None`: all of it, as for a
    unit other than bytes or what cannot be read, which a server has to ignore. Raises `Unsatisfiable`."""
    unit, equals, text = header.partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    specs = text.split(",")
    if len(specs) > RANGES_MAX:
        raise Unsatisfiable
    spans: list[Span] = []
    for spec in specs:
        match = _SPEC.fullmatch(spec)
        if match is None or not (match[1] or match[2]) or (match[1] and match[2] and int(match[1]) > int(match[2])):
            return None
        span = _span(match[1], match[2], size)
        if span is not None:
            spans.append(span)
    if not spans:
        raise Unsatisfiable
    return _merged(sorted(spans))


def _span(first: str, last: str, size: int) -> Span | None:
    if not first:
        return (max(0, size - int(last)), size) if int(last) and size else None
    if int(first) >= size:
        return None
    return int(first), min(size, int(last) + 1) if last else size


def _merged(spans: list[Span]) -> list[Span]:
    merged = spans[:1]
    for start, stop in spans[1:]:
        if start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(stop, merged[-1][1])
        else:
            merged.append((start, stop))
    return merged


def content_range(span: Span, size: int) -> str:
    """The Content-Range of a part."""
    return f"bytes {span[0]}-{span[1] - 1}/{size}"
