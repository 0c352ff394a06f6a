"""The map in docs/architecture.md names every module that there is, and none that there is not."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from tests.structure.test_sizes import PACKAGES

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"
HEAD = "| module"
"""Begins each table: that of `forge_p2p`, then that of `forge_edge`."""
ROW = re.compile(r"^\| ([^|]+) \|", re.MULTILINE)


def folders(module: str) -> set[str]:
    """All that a module is in, but the package itself."""
    return {parent.as_posix() for parent in PurePosixPath(module).parents} - {"."}


def mentions(table: str) -> Iterator[tuple[str, ...]]:
    """What the first column names, each by the paths that may be meant. A bold name is a package that the rows below it
    are in, or a module. A name without a folder may be in that of the row's first."""
    section = ""
    for row in ROW.findall(table):
        for section in re.findall(r"\*\*(\w+)\*\*", row):
            yield (section,)
        names = re.findall(r"`([\w/*]+)`", row)
        first = names[0].rpartition("/")[0] if names else ""
        for name in names:
            yield tuple("/".join(filter(None, (section, inner, name))) for inner in ("", first))


def named(table: str, modules: set[str]) -> set[str]:
    """Modules, folders, and `FOLDER/*` for all that is in one. Fails if something is not there."""
    inner = {folder for module in modules for folder in folders(module)}
    there = modules | inner | {f"{folder}/*" for folder in inner}
    found = set()
    for paths in mentions(table):
        known = [path for path in paths if path in there]
        assert known, f"docs/architecture.md names {paths[0]}, which is not there"
        found.add(known[0])
    return found


def unnamed(modules: set[str], names: set[str]) -> list[str]:
    """Modules that are named neither by themselves nor with a folder of which nothing is named by itself."""
    opened = {folder for name in names for folder in folders(name)}
    all_of = {name for name in names if name not in opened} | {name.removesuffix("/*") for name in names if "*" in name}
    return sorted(module for module in modules - names if not folders(module) & all_of)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_every_module_is_in_the_map(package: Path) -> None:
    table = PAGE.read_text("utf-8").split(HEAD)[1 + PACKAGES.index(package)].split("\n\n")[0]
    files = (path.relative_to(package).with_suffix("") for path in package.rglob("*.py"))
    modules = {path.as_posix() for path in files if path.name not in {"__init__", "__main__"}}
    assert not unnamed(modules, named(table, modules)), "these are to be in docs/architecture.md"


def test_a_module_beside_those_that_are_named_is_missed() -> None:
    table = "one | a\n| **content** | b |\n| `far/near`, `next`, `tree` | c |\n| `dht`, `all/*` | d |\n"
    modules = {f"content/{name}" for name in ("tree", "far/near", "far/next", "dht/one", "all/a", "all/b")}
    assert not unnamed(modules, named(table, modules))
    more = {"content/new", "content/far/new", "new"}
    assert unnamed(modules | more, named(table, modules | more)) == sorted(more)
    with pytest.raises(AssertionError, match="content/dht"):
        named(table, modules - {"content/dht/one"})
