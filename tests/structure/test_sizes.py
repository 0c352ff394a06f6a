"""Nothing grows past what a reader can hold: files of at most 400 lines, functions of at most 40."""

import ast
from collections.abc import Iterator
from pathlib import Path

import forge_edge
import pytest

import forge_p2p

PACKAGES = [Path(package.__path__[0]) for package in (forge_p2p, forge_edge)]
MODULES = sorted(path for package in PACKAGES for path in package.rglob("*.py"))
FILE_LINES = 400
FUNCTION_LINES = 40


def long_functions(source: str) -> Iterator[str]:
    """Functions of more than `FUNCTION_LINES` lines, decorators and docstring not counted."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = (
                node.body[1]
                if ast.get_docstring(node, clean=False) is not None and len(node.body) > 1
                else node.body[0]
            )
            signature = node.body[0].lineno - node.lineno
            lines = signature + (node.end_lineno or 0) - first.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"line {node.lineno}: {node.name} has {lines} lines"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: "/".join(path.parts[-3:]))
def test_module_fits(module: Path) -> None:
    source = module.read_text("utf-8")
    assert len(source.splitlines()) <= FILE_LINES, f"{module} is too long: split it by what its parts are about"
    assert not list(long_functions(source)), f"functions of {module} are too long"


def test_counting_sees_long_functions() -> None:
    body = "\n".join(f"    x{i} = {i}" for i in range(FUNCTION_LINES))
    assert list(long_functions(f"def f():\n{body}\n    return 0\n")) == [f"line 1: f has {FUNCTION_LINES + 2} lines"]
    assert not list(long_functions('def f():\n    """' + "words\n" * 60 + '"""\n    return 0\n'))
