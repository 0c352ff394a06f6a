"""Completion, in a real bash, and by the protocol that the other shells' scripts speak."""

import stat
import subprocess
from pathlib import Path

import pytest

from tests.cli.harness import COMMAND, environment, forge


@pytest.fixture
def on_path(tmp_path: Path) -> dict[str, str]:
    """An environment in which `forge` is a command."""
    program = tmp_path / "bin" / "forge"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    found = environment(tmp_path / "home")
    return {**found, "PATH": f"{program.parent}:{found['PATH']}"}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["forge", "sta"], ["status"]),
        (["forge", "s"], ["seed", "share", "shares", "status", "store", "sync"]),
        (["forge", "store", "ver"], ["verify"]),
        (["forge", "completion", ""], ["bash", "zsh", "fish"]),
        (["forge", "up", "--de"], ["--detach", "--debug"]),
    ],
)
def test_bash(on_path: dict[str, str], words: list[str], offered: list[str]) -> None:
    quoted = " ".join(f"'{word}'" for word in words)
    script = (
        'eval "$(forge completion bash)"\n'
        f"COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1}\n"
        '_forge_completion forge\nprintf "%s\\n" "${COMPREPLY[@]}"'
    )
    result = subprocess.run(
        ["bash", "--norc", "-c", script], env=on_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.stderr == ""
    assert sorted(result.stdout.split()) == sorted(offered)


@pytest.mark.parametrize(
    ("shell", "cursor", "separator"), [("zsh", {"COMP_CWORD": "1"}, "\n"), ("fish", {"COMP_CWORD": "sta"}, "\t")]
)
def test_other_shells(home: Path, shell: str, cursor: dict[str, str], separator: str) -> None:
    script = forge(home, "completion", shell)
    assert script.returncode == 0
    assert f"_FORGE_COMPLETE={shell}_complete" in script.stdout
    asked = {"_FORGE_COMPLETE": f"{shell}_complete", "COMP_WORDS": "forge sta", **cursor}
    answer = forge(home, **asked)
    assert f"status{separator}Show the node, its networks, peers, shares and store." in answer.stdout


def test_unknown_shell(home: Path) -> None:
    result = forge(home, "completion", "tcsh")
    assert result.returncode == 2
    assert "'tcsh' is not one of" in result.stderr
