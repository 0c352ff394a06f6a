"""`forge git checkout`: the fastest work tree of a repository's commit."""

import os
from pathlib import Path
from time import monotonic

import click
from msgspec import structs

from forge_p2p.cli.environment import git_environment, repository_url
from forge_p2p.cli.git_behind import leave_behind
from forge_p2p.cli.names import IN_NETWORK
from forge_p2p.cli.output import emit, remark
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.cli.units import format_count, format_duration
from forge_p2p.node.home import Home
from forge_p2p.node.repositories.results import CheckoutResult


@click.command("checkout", cls=ForgeCommand)
@click.argument("name")
@click.argument("revision")
@click.argument("directory", type=click.Path(path_type=Path))
@IN_NETWORK
@click.option("--no-git", is_flag=True, help="Only the files, without a .git.")
@click.option("--force", is_flag=True, help="Throw local changes of tracked files away.")
@click.option("--upstream", default="", metavar="URL", help="A git server to turn to for what Forge does not have.")
@pass_settings
def command(
    settings: Settings,
    name: str,
    revision: str,
    directory: Path,
    in_network: str,
    no_git: bool,
    force: bool,
    upstream: str,
) -> None:
    """Make DIRECTORY what REVISION of the repository NAME is: a branch, a tag, or a commit.

    The first time all files are written, in parallel; later only what differs. Local changes stay, and the checkout
    refuses where they would be lost. The commit is the last line of the output.
    """
    began = monotonic()
    url = repository_url(name, in_network)
    sources = [url, *([upstream] if upstream else [])]
    result = _check_out(settings, sources, revision, directory.absolute(), own=not no_git, force=force)
    result = structs.replace(result, seconds=monotonic() - began)
    kept = [f"{format_count(result.kept, 'local change')} kept"] if result.kept else []
    what = f"{directory}: {result.how}, {format_duration(result.seconds)}"
    remark(settings, what, *kept, *(f"note: {note}" for note in result.notes))
    emit(settings, result, [result.commit])


def _check_out(
    settings: Settings, sources: list[str], revision: str, directory: Path, *, own: bool, force: bool
) -> CheckoutResult:
    """The result, but for its time."""
    from forge_p2p.git.checkout.workspace import Request, check_out
    from forge_p2p.git.copies import Copy, copy_path
    from forge_p2p.git.hot.keeping import hot_folder
    from forge_p2p.git.state import State
    from forge_p2p.git.urls import named

    environment = git_environment(settings)
    copy = Copy(copy_path(settings.home, "copies", sources[0]), sources, environment)
    commit = copy.commit(revision)
    state = os.fsencode(settings.home / "git" / "checkouts")
    name = State(copy.git.places).name() or named(sources[0])
    hot = hot_folder(Home(settings.home).cache, name)
    into = os.fsencode(directory)
    request = Request(copy.path, sources[0], commit, into, hot, state, sources[0], own=own, force=force)
    done = check_out(request, environment)
    if done.how == "written":
        leave_behind(str(settings.home), os.fsdecode(copy.path), standby=False, verify=False, hot=(commit, name))
    notes = list(copy.failures)
    if done.left:
        notes.append(f"commit {done.left} was here, on no branch: git branch NAME {done.left} keeps it")
    return CheckoutResult(str(directory), done.commit, done.how, copy.source, done.restored, done.kept, 0.0, notes)
