"""`forge lfs`: large files of git repositories by Forge."""

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import click

from forge_p2p.cli.calling import call_or_run
from forge_p2p.cli.environment import git_environment
from forge_p2p.cli.output import remark
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.errors import UsageError
from forge_p2p.git import lfs
from forge_p2p.git.running import GitFailed, find_repository, said
from forge_p2p.node.home import Home

_SCHEME = "forge://"


@click.group("lfs")
def command() -> None:
    """Have Git LFS keep large files in Forge."""


@command.command("install", cls=ForgeCommand)
@click.argument("repository", type=click.Path(path_type=Path), required=False)
@click.option(
    "--global", "everywhere", is_flag=True, help="Every repository with a forge:// remote, clones to come too."
)
@pass_settings
def install(settings: Settings, repository: Path | None, everywhere: bool) -> None:
    """Set REPOSITORY up, so that git lfs push and pull go through Forge.

    Only this repository: others keep their LFS servers. Its remote has to be a forge:// URL, whose network then has the
    objects, too. With --global all that have such a remote, by your own git configuration: git clone forge://NAME then
    brings large files at once.
    """
    if shutil.which("git-lfs") is None:
        raise UsageError("git-lfs is not installed", hint="apt-get install git-lfs, or see git-lfs.com")
    if everywhere and repository is not None:
        raise UsageError("--global is for all repositories", hint="leave out which one")
    if everywhere:
        _install_everywhere(settings)
        remark(settings, "git lfs goes through Forge wherever a remote is forge://")
        return
    repository = repository or Path()
    git = find_repository(os.fsencode(repository), git_environment(settings))
    git.run("lfs", "install", "--local")
    for name, value in lfs.settings(_program()).items():
        git.run("config", "--local", name, value)
    remark(settings, f"{repository}: git lfs goes through Forge")


def _install_everywhere(settings: Settings) -> None:
    """What counts where a remote is of Forge is in a file of its own, which git's configuration includes."""
    Home(settings.home).create()
    file = settings.home / "lfs.gitconfig"
    for name, value in lfs.settings(_program()).items():
        _run_git(settings, "config", "--file", str(file), name, value)
    _run_git(settings, "lfs", "install", "--skip-repo")
    _run_git(settings, "config", "--global", *lfs.included(file))


@command.command("transfer", cls=ForgeCommand, hidden=True)
@pass_settings
def transfer(settings: Settings) -> None:
    """Speak git-lfs's custom transfer protocol. git lfs runs this."""
    folder = Path(_git("rev-parse", "--git-path", "lfs/tmp")).absolute()
    for line in lfs.answers(lfs.Transfer(partial(call_or_run, settings), _network_of, folder), sys.stdin):
        sys.stdout.write(line)
        sys.stdout.flush()


def _network_of(remote: str) -> str:
    """The network in a remote's URL, where it says one."""
    url = remote if _SCHEME in remote else _git("config", "--get", f"remote.{remote}.url")
    path = url.partition(_SCHEME)[2].strip("/")
    return path.partition("/")[0] if "/" in path else ""


def _run_git(settings: Settings, *words: str) -> None:
    """A command outside of any repository. Raises `GitFailed`."""
    done = subprocess.run(["git", *words], env=git_environment(settings), capture_output=True, check=False)
    if done.returncode:
        raise GitFailed(f"git {' '.join(words[:2])} failed: {said(done.stderr, done.returncode)}")


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True, check=False).stdout.strip()


def _program() -> str:
    """How `forge` is called: as it was now, if that is a program."""
    called = shutil.which(sys.argv[0])
    beside = Path(sys.executable).parent / "forge"
    return str(Path(called).absolute()) if called and not called.endswith(".py") else str(beside)
