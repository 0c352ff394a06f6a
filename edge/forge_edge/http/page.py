"""A directory as a page that needs no script, and as JSON."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

import msgspec

from forge_edge.http.target import quote
from forge_p2p.cli.units import format_count, format_size
from forge_p2p.content.link import Root
from forge_p2p.content.linktext import format_link
from forge_p2p.content.pathtext import path_text
from forge_p2p.content.snapshot import KINDS, Entry, EntryKind, leads_to

POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of a page of ours."""

SANDBOX: Final = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self'"
"""Of content: what somebody published is shown, and runs no script in the gateway's name."""

_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;color:#1b1f24;background:#fff;max-width:60rem;margin:2rem auto;"
    "padding:0 1rem}h1{font-size:1.1rem;font-weight:600;overflow-wrap:anywhere}table{border-collapse:collapse;"
    "width:100%}"
    "td,th{padding:.3rem .5rem;border-bottom:1px solid #e4e7ea;text-align:left;font-weight:400;overflow-wrap:anywhere}"
    "th{color:#667}td.n,th.n{text-align:right;white-space:nowrap;color:#667;font-variant-numeric:tabular-nums}"
    "a{color:#0550ae;text-decoration:none}a:hover{text-decoration:underline}footer{margin-top:1rem;color:#667;"
    "font-size:.85rem;overflow-wrap:anywhere}@media(prefers-color-scheme:dark){body{color:#dde3ea;background:#12161b}"
    "td,th{border-color:#2a3038}a{color:#7fb4ff}}"
)


class Item(msgspec.Struct, frozen=True):
    """One entry of a directory as JSON: `link` is a file's link or a symlink's target; sizes in bytes, times in Unix
    seconds, 0 where there is none."""

    name: str
    kind: str
    size: int
    mode: int
    modified: float
    link: str


class Directory(msgspec.Struct, frozen=True):
    """A directory as JSON. `link` names the whole tree that it is in, `path` its place there."""

    link: str
    path: str
    entries: list[Item]


def directory_json(root: Root, path: bytes, entries: Iterable[Entry]) -> bytes:
    """What is directly in `path`."""
    return msgspec.json.encode(Directory(format_link(root), path_text(path), [_item(each) for each in entries]))


def _item(entry: Entry) -> Item:
    name, kind = path_text(entry.path.rpartition(b"/")[2]), KINDS[EntryKind(entry.kind)]
    return Item(name, kind, entry.size, entry.mode, entry.mtime_ns / 1e9, leads_to(entry))


def directory_page(title: str, root: Root, path: bytes, entries: Sequence[Entry]) -> bytes:
    """The page of a directory; its links are relative, so it has to be served under a path that ends in a slash."""
    ordered = sorted(entries, key=lambda each: (each.kind != EntryKind.DIRECTORY, each.path))
    rows = ['<tr><td><a href="../">..</a></td><td class="n"></td></tr>'] if path else []
    rows += [_row(each) for each in ordered]
    count = format_count(len(ordered), "entry", "entries")
    heading = escape(f"{title}/{path_text(path)}" if path else title)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{heading}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n<body><h1>{heading}</h1>\n'
        '<table><thead><tr><th>Name</th><th class="n">Size</th></tr></thead><tbody>\n'
        + "\n".join(rows)
        + f"\n</tbody></table>\n<footer>{count} in {escape(format_link(root))}</footer></body></html>\n"
    ).encode()


def _row(entry: Entry) -> str:
    raw = entry.path.rpartition(b"/")[2]
    name = escape(path_text(raw))
    if entry.kind == EntryKind.SYMLINK:
        return f'<tr><td>{name} → {escape(path_text(entry.payload))}</td><td class="n">link</td></tr>'
    slash = "/" if entry.kind == EntryKind.DIRECTORY else ""
    # The leading ./ keeps a name with a colon from being taken for a scheme.
    size = "" if slash else format_size(entry.size)
    return f'<tr><td><a href="./{escape(quote(raw))}{slash}">{name}{slash}</a></td><td class="n">{size}</td></tr>'
