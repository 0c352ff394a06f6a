"""The documents agree with each other and with the program."""

import inspect
import re
import subprocess
from pathlib import Path

import click
import pytest

from forge_p2p import errors
from forge_p2p.cli.app import COMMANDS, forge
from forge_p2p.cli.main import BROKEN_PIPE
from tests.cli.harness import ROOT
from tests.docs.test_commands import PAGES

LINK = re.compile(r"\[[^\]]+\]\((?P<target>[^)\s]+)\)")
PAGE_NAME = re.compile(r"`(?P<name>[\w-]+\.md)`")
CODE_ROW = re.compile(r"^\| (?P<code>\d+) \| (?:`(?P<name>\w+)`)? *\|", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for match in LINK.finditer(page.read_text("utf-8")):
        target, _, anchor = match["target"].partition("#")
        if target.startswith(("http://", "https://")):
            continue
        linked = (page.parent / target) if target else page
        assert linked.exists(), f"{page.name} links to {target}, which is not there"
        assert not anchor or anchor in anchors(linked), f"{page.name} links to {match['target']}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_that_are_named_exist(page: Path) -> None:
    known = {other.name for other in PAGES}
    assert set(PAGE_NAME.findall(page.read_text("utf-8"))) <= known


def test_pages_named_in_the_code_exist() -> None:
    for module in (ROOT / "forge_p2p").rglob("*.py"):
        for name in re.findall(r"docs/[\w-]+\.md", module.read_text("utf-8")):
            assert (ROOT / name).exists(), f"{module} names {name}"


def test_every_exit_code_is_documented() -> None:
    page = (ROOT / "docs" / "errors.md").read_text("utf-8")
    written = {(int(match["code"]), match["name"] or "") for match in CODE_ROW.finditer(page)}
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.ForgeError)]
    raised = {(kind.exit_code, kind.__name__) for kind in kinds}
    assert written == raised | {(0, ""), (BROKEN_PIPE, "")}


def test_every_command_is_in_the_readme() -> None:
    table = (ROOT / "README.md").read_text("utf-8")
    for name in COMMANDS:
        assert f"`forge {name}" in table
        command = forge.get_command(click.Context(forge), name)
        assert command is not None
        for option in command.params:
            if isinstance(option, click.Option) and name in {"share", "up"} and not option.callback:
                assert option.opts[0] in table


def test_every_dependency_is_explained() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    page = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    block = project[project.index("dependencies = [") : project.index("[project.scripts]")]
    for name in re.findall(r'"([a-z0-9-]+)(?:>=|")', block):
        assert re.search(rf"\b{name}\b", page), f"docs/dependencies.md says nothing of {name}"


def test_every_make_target_is_listed() -> None:
    listed = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for target in targets:
        assert f"make {target}" in listed
