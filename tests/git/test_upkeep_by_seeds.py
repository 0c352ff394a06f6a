"""A seed that keeps repositories up: beside serving, with the right to, and never in the way of going down."""

import os
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from forge_p2p.git.upkeep import MANY
from tests.cli.harness import forge
from tests.edge.harness import Running
from tests.edge.test_seed import seed
from tests.git.harness import Person, sound
from tests.git.lies import nothing
from tests.git.test_graphs import manifest_of
from tests.git.test_upkeep import published_in_pieces
from tests.node.members_up import LONG, until


def seed_file(folder: Path, ada: Person, role: str, name: str) -> Path:
    """A seed in the network with this role, that is to keep up a name."""
    token = folder / "team.token"
    token.touch(0o600)
    token.write_text(ada.forge("network", "invite", "--role", role) + "\n")
    file = folder / "seed.toml"
    file.write_text(
        f'home = "{folder}/seed"\nlisten = "127.0.0.1:0"\n[net]\nlan = false\n[store]\nreserve = 0\n'
        f'[[network]]\ntoken_file = "{token}"\n[[follow]]\nname = "team/{name}"\nupkeep = true\n'
        f'[gateway]\nlisten = "127.0.0.1:0"\npublic = ["team/{name}"]\n'
    )
    return file


def descendants(running: Running) -> list[psutil.Process]:
    found: list[psutil.Process] = psutil.Process(running.process.pid).children(recursive=True)
    return found


def words_of(process: psutil.Process) -> list[str]:
    """What it was started with; nothing of one that has ended."""
    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return list(process.cmdline())
    return []


def upkeep_of(running: Running) -> list[psutil.Process]:
    """The processes of upkeep."""
    return [each for each in descendants(running) if "upkeep" in words_of(each)]


def test_a_seed_makes_packs_few(ada: Person, bob: Person, tmp_path: Path) -> None:
    work = published_in_pieces(ada, "seeded", MANY, nothing)
    file = seed_file(tmp_path, ada, "writer", "seeded")
    checked = forge(tmp_path, "config", "check", str(file))
    assert checked.returncode == 0, checked.stdout
    with seed(file, tmp_path) as running:
        until(lambda: len(manifest_of(ada, "seeded").packs) < MANY, "the packs are few", LONG)
        until(lambda: "upkeep of team/seeded" in running.said(), "the seed says so", LONG)
        until(lambda: not upkeep_of(running), "and that is that", LONG)
    assert "no upkeep" not in running.said()
    bob.git("clone", "--quiet", "forge://seeded", "copy")
    assert bob.git("rev-parse", "HEAD", at=bob.folder / "copy") == ada.git("rev-parse", "HEAD", at=work)
    sound(bob, bob.folder / "copy")


def test_who_may_not_write_is_told(ada: Person, tmp_path: Path) -> None:
    """By the check, in the line it is about; by the seed, which goes on with all else."""
    published_in_pieces(ada, "barred-seed", MANY, nothing)
    before = manifest_of(ada, "barred-seed")
    file = seed_file(tmp_path, ada, "seed", "barred-seed")
    checked = forge(tmp_path, "config", "check", str(file))
    assert checked.returncode == 2
    assert f"{file}:11: upkeep of team/barred-seed" in checked.stdout
    assert "forge network invite --role writer" in checked.stdout
    assert f"{file}:11: upkeep of team/barred-seed needs git" in (
        forge(tmp_path, "config", "check", str(file), PATH=os.devnull).stdout
    )
    file.write_text(file.read_text().replace("upkeep = true", "upkeep = false"))
    assert forge(tmp_path, "config", "check", str(file)).returncode == 0
    file.write_text(file.read_text().replace("upkeep = false", "upkeep = true"))
    with seed(file, tmp_path) as running:
        until(lambda: "no upkeep of team/barred-seed: this node is a seed" in running.said(), "the seed says so", LONG)
        assert running.ask("/readyz").status == 200
        assert manifest_of(ada, "barred-seed") == before


def slow_git(folder: Path) -> Path:
    """A git that never ends."""
    folder.mkdir()
    script = folder / "git"
    script.write_text("#!/bin/sh\nsleep 600 & wait\n")
    script.chmod(0o755)
    return script


def test_it_is_in_nobodys_way(ada: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the lowest priority while the seed serves; gone with it, and every program that it runs."""
    published_in_pieces(ada, "slow-seed", MANY, nothing)
    file = seed_file(tmp_path, ada, "writer", "slow-seed")
    slow = slow_git(tmp_path / "slow")
    monkeypatch.setenv("PATH", str(slow.parent), prepend=":")
    with seed(file, tmp_path) as running:
        until(lambda: any(str(slow) in words_of(each) for each in descendants(running)), "git is run", LONG)
        (upkeep,) = upkeep_of(running)
        assert upkeep.nice() == 19
        assert running.ask("/readyz").status == 200
        every = descendants(running)
        running.process.terminate()
        assert running.process.wait(timeout=60) == 0
        until(lambda: not any(each.is_running() and each.status() != "zombie" for each in every), "none is left")
