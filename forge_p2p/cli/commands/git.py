"""`forge git`: repositories that everybody uses by plain git."""

import os
from pathlib import Path

import click

from forge_p2p.cli import git_checkout, git_mirror, git_rules, git_share, git_upkeep
from forge_p2p.cli.environment import git_environment, repository_url
from forge_p2p.cli.names import IN_NETWORK
from forge_p2p.cli.output import emit, remark
from forge_p2p.cli.run import runner
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.cli.units import format_count, format_duration, format_size
from forge_p2p.node.home import Home


@click.group("git")
def command() -> None:
    """Publish git repositories, which others clone by forge://NAME."""


command.add_command(git_checkout.command)
command.add_command(git_mirror.command)
command.add_command(git_rules.command)
command.add_command(git_share.share)
command.add_command(git_share.listed)
command.add_command(git_upkeep.command)


@command.command("publish", cls=ForgeCommand)
@click.argument("repository", type=click.Path(path_type=Path))
@click.argument("name")
@IN_NETWORK
@pass_settings
def publish(settings: Settings, repository: Path, name: str, in_network: str) -> None:
    """Make NAME stand for the branches, tags and notes of REPOSITORY.

    From then on members of the network clone, fetch and push with plain git: git clone forge://NAME. Publishing again
    makes NAME what REPOSITORY is then. The URL is the last line of the output.
    """
    from forge_p2p.git.calls import Node
    from forge_p2p.git.publishing import publish as published_by
    from forge_p2p.git.running import find_repository
    from forge_p2p.git.upkeep import tidy

    repository_url(name, in_network)
    git = find_repository(os.fsencode(repository), git_environment(settings))
    node = Node(runner(settings), name, in_network)
    outcome = published_by(node, git)
    about = outcome.published.about
    url = f"forge://{about.network}/{about.name}"
    if outcome.put is None:
        remark(settings, f"{url} is that already, by record {about.seq}")
        emit(settings, about, [url])
        return
    put = outcome.put
    tidy(node, git)
    refs, size, took = format_count(outcome.refs, "ref"), format_size(put.new_bytes), format_duration(put.seconds)
    remark(settings, f"{refs}, {size} new, {url} is at record {put.seq} now, {took}")
    remark(settings, *(["the home has the content"] if put.held else []), *(f"note: {note}" for note in put.notes))
    emit(settings, put, [url])


@command.command("verify", cls=ForgeCommand)
@click.argument("repository", type=click.Path(path_type=Path), default=".")
@click.option("--git-dir", is_flag=True, hidden=True, help="REPOSITORY is the folder itself that git keeps things in.")
@pass_settings
def verify(settings: Settings, repository: Path, *, git_dir: bool) -> None:
    """Check packs that were fetched and taken as they came.

    git clone and git fetch have that done in the background. An index that is wrong is made anew, a damaged pack is
    fetched again; what is its publisher's fault is named, and the exit code is 13.
    """
    from forge_p2p.errors import Untrusted
    from forge_p2p.git.running import Git, find_repository
    from forge_p2p.git.verifying import Refetching
    from forge_p2p.git.verifying import verify as verified

    # What is behind a run of git's is for git to look for no more: it may not want bare ones (safe.bareRepository).
    git = (Git if git_dir else find_repository)(os.fsencode(repository), git_environment(settings))
    faults = verified(git, Refetching(git, runner(settings)))
    if faults:
        raise Untrusted("; ".join(faults), hint="do not use what was fetched; ask who published it")
    remark(settings, "all that was fetched is as git would have it")


@command.command("keep-hot", cls=ForgeCommand, hidden=True)
@click.argument("git_dir", type=click.Path(path_type=Path))
@click.argument("revision")
@click.argument("name", default="")
@pass_settings
def keep_hot(settings: Settings, git_dir: Path, revision: str, name: str) -> None:
    """Have a revision's contents at hand for the next checkout of NAME; run behind clones and checkouts."""
    from forge_p2p.git.hot.keeping import hot_folder, keep
    from forge_p2p.git.running import Git
    from forge_p2p.git.state import State

    git = Git(os.fsencode(git_dir), git_environment(settings))
    name = name or State(git.places).name()
    if name:
        keep(git, hot_folder(Home(settings.home).cache, name), revision)
