"""The documents' commands are run.

A block whose fence says `sh run` is a script: all of one page's, in their order, in one empty folder with a node's
folder of its own and `forge` on the PATH. Each has to succeed, and a comment `#=> text` at a line's end says that what
the line prints contains the text. A block that says `toml config` is a settings file without errors.
"""

import re
import subprocess
from pathlib import Path

import pytest

from forge_p2p.cli.config import SETTINGS, parse_config
from tests.cli.harness import COMMAND, ROOT, environment
from tests.edge.harness import EDGE
from tests.git.harness import programs

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(?P<info>[^\n]+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
EXPECTATION = re.compile(r"^(?P<line>.*?)\s+#=> (?P<text>.*)$")


def blocks(page: Path, info: str) -> list[str]:
    return [match["text"] for match in BLOCK.finditer(page.read_text("utf-8")) if match["info"].strip() == info]


def script(page: Path) -> str:
    """The page's runnable blocks as one script, with the expectations as checks."""
    return "\n".join(checked(line) for block in blocks(page, "sh run") for line in block.splitlines())


def checked(line: str) -> str:
    match = EXPECTATION.match(line)
    if match is None:
        return line
    return f"printed=$({match['line']})\n[[ $printed == *'{match['text']}'* ]] || {{ echo \"$printed\"; exit 99; }}"


RUNNABLE = [page for page in PAGES if blocks(page, "sh run")]


def test_the_readme_is_runnable() -> None:
    assert ROOT / "README.md" in RUNNABLE


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.name)
def test_commands_work(page: Path, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "forge"
    program.parent.mkdir()
    for name, words in {"forge": COMMAND, "forge-edge": EDGE}.items():
        (program.parent / name).write_text(f'#!/bin/sh\nexec {" ".join(words)} "$@"\n')
        (program.parent / name).chmod(0o755)
    programs(program.parent)
    (tmp_path / "folder").mkdir()
    variables = environment(tmp_path / "home")
    log = tmp_path / "log"
    with log.open("wb") as output:
        result = subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", f"trap 'forge down -q || true' EXIT\n{script(page)}"],
            cwd=tmp_path / "folder",
            env={**variables, "PATH": f"{program.parent}:{variables['PATH']}"},
            stdout=output,
            stderr=output,
            timeout=120,
            check=False,
        )
    assert result.returncode == 0, log.read_text()


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "toml config")], ids=lambda page: page.name)
def test_settings_are_settings(page: Path) -> None:
    for block in blocks(page, "toml config"):
        parse_config(block, page)
    named = set(re.findall(r"^(\w+) =", "".join(blocks(page, "toml config")), re.MULTILINE))
    assert {key.rpartition(".")[2] for key in SETTINGS} == named, "the page shows every setting there is"


def test_an_unmet_expectation_fails() -> None:
    line = checked("echo one  #=> two")
    assert subprocess.run(["bash", "-c", line], capture_output=True, check=False).returncode == 99
    assert subprocess.run(["bash", "-c", checked("echo one two  #=> two")], check=False).returncode == 0
