"""Help is complete, and costs nothing that it does not need."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from forge_p2p import __version__
from forge_p2p.cli.app import COMMANDS, ELSEWHERE
from forge_p2p.cli.app import forge as group
from tests.cli.harness import COMMAND, environment, forge

HEAVY = {
    "trio",
    "cryptography",
    "rich",
    "blake3",
    "msgspec",
    "lmdb",
    "qh3",
    "pyfastcdc",
    "zstandard",
    "xxhash",
    "tomllib",
}


def test_help_names_every_command(home: Path) -> None:
    result = forge(home, "--help")
    assert result.returncode == 0
    assert result.stderr == ""
    for name, line in COMMANDS.items():
        assert f"  {name} " in result.stdout
        assert line in result.stdout
    assert not home.exists(), "asking for help must not make a folder"


def test_without_a_command_help_comes_on_stderr(home: Path) -> None:
    result = forge(home)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Usage: forge")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself(name: str) -> None:
    context = click.Context(group, info_name="forge")
    command = group.get_command(context, name)
    assert command is not None
    text = command.get_help(click.Context(command, info_name=name, parent=context))
    assert COMMANDS[name] in text, "the first line of a command's help is its line in the list"
    assert "--help" in text


def test_commands_are_the_files_of_the_folder() -> None:
    folder = Path(sys.modules["forge_p2p.cli.app"].__file__ or "").parent / "commands"
    assert {file.stem for file in folder.glob("*.py")} - {"__init__"} == set(COMMANDS) - set(ELSEWHERE)


def test_version(home: Path) -> None:
    assert forge(home, "--version").stdout == f"forge, version {__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["nonsense"], ["completion", "zsh"]])
def test_talking_about_itself_imports_nothing_heavy(home: Path, arguments: list[str]) -> None:
    assert not imported(home, arguments) & HEAVY


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_imports_no_more_than_results(home: Path, name: str) -> None:
    assert imported(home, [name, "--help"]) & HEAVY <= {"msgspec"}


def imported(home: Path, arguments: list[str]) -> set[str]:
    """Top-level packages that the command imports, by the interpreter's own account."""
    result = subprocess.run(
        [COMMAND[0], "-X", "importtime", *COMMAND[1:], *arguments],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = [line.rpartition("|")[2].strip() for line in result.stderr.splitlines() if line.startswith("import time:")]
    assert "click" in lines
    return {line.partition(".")[0] for line in lines}
