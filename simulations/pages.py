"""Figures in documents, between marks: <!-- KIND:NAME --> … <!-- /KIND -->."""

import re
from collections.abc import Sequence


def replaced(page: str, kind: str, name: str, text: str) -> str:
    """`page` with `text` between the marks of `name`. Raises `ValueError` where there are none."""
    pattern = re.compile(rf"(<!-- {kind}:{re.escape(name)} -->\n).*?(<!-- /{kind} -->)", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"the page has no marks <!-- {kind}:{name} --> … <!-- /{kind} -->")
    return pattern.sub(lambda match: f"{match[1]}{text}\n{match[2]}", page)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows, the first of them the heads, as Markdown."""
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body))
