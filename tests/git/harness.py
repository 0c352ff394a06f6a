"""Real git over real nodes: two members of one network as processes, and git with the helper on its PATH."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.cli.harness import ROOT, environment
from tests.node.harness import settings, strace
from tests.node.members_up import said

TIMEOUT = 60
SCRIPTS = ROOT / "bin"
GIT = (
    *("git", "-c", "init.defaultBranch=main", "-c", "protocol.forge.allow=always"),
    *("-c", "maintenance.auto=false"),  # which would go on after the command, and leave files of its own when killed
)


def programs(folder: Path) -> Path:
    """A folder with `git-remote-forge` and what is beside it, as an installation has them."""
    folder.mkdir(exist_ok=True)
    for script in SCRIPTS.iterdir():
        installed = folder / script.name
        installed.write_text(script.read_text().replace("#!python\n", f"#!{sys.executable}\n", 1))
        installed.chmod(0o755)
    return folder


@dataclass(frozen=True)
class Person:
    """Somebody with a node's folder, who runs git in `folder`. Nothing is checked or made in the background unless
    a test says so: it would go on after the test."""

    home: Path
    folder: Path
    bin: Path

    def variables(self) -> dict[str, str]:
        kept = {name: value for name, value in environment(self.home).items() if not name.startswith("GIT_")}
        return {
            **kept,
            "PATH": f"{self.bin}{os.pathsep}{kept['PATH']}",
            "HOME": str(self.folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "A",
            "GIT_AUTHOR_EMAIL": "a@example.com",
            "GIT_COMMITTER_NAME": "A",
            "GIT_COMMITTER_EMAIL": "a@example.com",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_COUNT": "2",
            "GIT_CONFIG_KEY_0": "forge.verify",
            "GIT_CONFIG_VALUE_0": "never",
            "GIT_CONFIG_KEY_1": "forge.hotPacks",
            "GIT_CONFIG_VALUE_1": "false",
        }

    def attempt(
        self, *words: str, at: Path | None = None, stdin: Path | None = None, **more: str
    ) -> "subprocess.CompletedProcess[str]":
        """`git WORDS`, to its end, whatever that is."""
        with (stdin or Path(os.devnull)).open("rb") as fed:
            return subprocess.run(
                [*GIT, *words],
                cwd=at or self.folder,
                env={**self.variables(), **more},
                stdin=fed,
                capture_output=True,
                text=True,
                errors="surrogateescape",
                timeout=TIMEOUT,
                check=False,
            )

    def start(self, *words: str, at: Path | None = None) -> "subprocess.Popen[bytes]":
        """`git WORDS` under way."""
        return subprocess.Popen(
            [*GIT, *words], cwd=at or self.folder, env=self.variables(), stderr=subprocess.DEVNULL, process_group=0
        )

    def git(self, *words: str, at: Path | None = None, stdin: Path | None = None, **more: str) -> str:
        """What `git WORDS` prints; it has to go well."""
        done = self.attempt(*words, at=at, stdin=stdin, **more)
        assert done.returncode == 0, f"git {' '.join(words)}: {done.stderr}"
        return done.stdout.strip()

    def forge(self, *words: str) -> str:
        """What `forge WORDS` prints last."""
        return (said(self.home, *words).splitlines() or [""])[-1]

    def commit(self, repository: Path, name: str, content: str = "") -> str:
        """One more commit, that writes one file."""
        path = repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content or name)
        self.git("add", "--all", at=repository)
        self.git("commit", "--quiet", "--message", f"write {name}", at=repository)
        return self.git("rev-parse", "HEAD", at=repository)

    def repository(self, name: str, *options: str) -> Path:
        """A new repository with a commit, a branch and a tag."""
        path = self.folder / name
        self.git("init", "--quiet", *options, str(path))
        self.commit(path, "one", "one\n" * 100)
        self.git("branch", "side", at=path)
        self.commit(path, "folder/two", "two\n" * 100)
        self.git("tag", "--annotate", "--message", "first", "v1", at=path)
        return path


def person(folder: Path, name: str, configured: str) -> Person:
    """Somebody new, with a node's folder of these settings, and a folder of their own."""
    home = settings(folder / f"{name}-home", configured)
    (folder / name).mkdir()
    return Person(home, folder / name, programs(folder / "bin"))


def is_at_work(process: psutil.Process) -> bool:
    """Whether it has not ended; who has started it may be gone without having heard of that."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def refs(person: Person, repository: Path, *spaces: str) -> dict[str, str]:
    """Objects by ref."""
    lines = person.git("for-each-ref", "--format=%(refname) %(objectname)", *spaces, at=repository).splitlines()
    return dict(line.rsplit(" ", 1) for line in lines)


def sound(person: Person, repository: Path) -> None:
    """git finds nothing wrong, and nothing of Forge's is left over."""
    done = person.attempt("fsck", "--strict", "--no-dangling", at=repository)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert leavings(person, repository) == []


def leavings(person: Person, repository: Path) -> list[str]:
    """What an interrupted command would have to remove."""
    common = Path(person.git("rev-parse", "--path-format=absolute", "--git-common-dir", at=repository))
    packs = [each.name for each in (common / "objects" / "pack").iterdir()]
    state = [each.name for each in (common / "forge").glob("*")] if (common / "forge").exists() else []
    found = [name for name in packs if name.startswith("tmp_") or name.endswith(".keep")]
    return found + [name for name in state if name.startswith(("push_", "files_", "tmp_"))]


def killed_at(person: Person, stop: str, folder: Path, *words: str, more: Mapping[str, str] | None = None) -> int:
    """Runs git with a helper that is killed there; its exit code. `more` goes to its environment."""
    helper = folder / "bin" / "git-remote-forge"
    helper.parent.mkdir(exist_ok=True)
    traced = " ".join(strace("-e", f"inject={stop}"))
    helper.write_text(f'#!/bin/sh\nexec {traced} {person.bin}/git-remote-forge "$@"\n')
    helper.chmod(0o755)
    variables = {**person.variables(), **(more or {})}
    variables["FORGE_STANDBY"] = "0"  # it is the process that does the work
    variables["PATH"] = f"{helper.parent}{os.pathsep}{variables['PATH']}"
    done = subprocess.run([*GIT, *words], cwd=folder / "copy", env=variables, capture_output=True, check=False)
    return done.returncode
