"""`forge git mirror`: a name that stands for what a git server has."""

from time import monotonic, sleep

import click

from forge_p2p.cli.environment import git_environment
from forge_p2p.cli.names import IN_NETWORK
from forge_p2p.cli.output import emit, remark
from forge_p2p.cli.run import runner
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.cli.units import format_count, format_duration, format_size
from forge_p2p.errors import NotFound, PeerError
from forge_p2p.node.repositories.results import MirrorResult


@click.command("mirror", cls=ForgeCommand)
@click.argument("upstream", metavar="URL")
@click.argument("name")
@IN_NETWORK
@click.option("--every", default=30.0, show_default=True, metavar="SECONDS", help="How often the server is asked.")
@click.option("--once", is_flag=True, help="Ask once and end: for a hook of the server, or a timer.")
@pass_settings
def command(settings: Settings, upstream: str, name: str, in_network: str, every: float, once: bool) -> None:
    """Keep NAME what the git server at URL has: its branches, tags and notes.

    Agents clone forge://NAME from each other; the server stays the truth and is asked for every object once. Each
    change is one line of the output. A server or a home of names that cannot be reached is asked again, with --once it
    is an error.
    """
    while True:
        try:
            result = _mirror(settings, upstream, name, in_network)
            if result.moved or once:
                _tell(settings, result)
        except (NotFound, PeerError) as error:
            if once:
                raise
            remark(settings, f"{error}; next try in {every:g} s")
        if once:
            return
        sleep(max(every, 0.1))


def _mirror(settings: Settings, upstream: str, name: str, in_network: str) -> MirrorResult:
    """One round."""
    from forge_p2p.git.calls import Node
    from forge_p2p.git.copies import Copy, copy_path
    from forge_p2p.git.publishing import publish
    from forge_p2p.git.upkeep import tidy

    began = monotonic()
    copy = Copy(copy_path(settings.home, "mirrors", f"{in_network}/{name}"), [upstream], git_environment(settings))
    copy.refresh()
    copy.follow_head()
    node = Node(runner(settings), name, in_network)
    outcome = publish(node, copy.git)
    if outcome.put is not None:
        tidy(node, copy.git)
    about, put = outcome.published.about, outcome.put
    seconds = monotonic() - began
    url = f"forge://{about.network}/{about.name}"
    seq, new, notes = (put.seq, put.new_bytes, put.notes) if put else (about.seq, 0, about.notes)
    return MirrorResult(upstream, url, seq, put is not None, outcome.refs, new, seconds, notes)


def _tell(settings: Settings, result: MirrorResult) -> None:
    refs, took = format_count(result.refs, "ref"), format_duration(result.seconds)
    what = f"{format_size(result.new_bytes)} new" if result.moved else "as before"
    remark(settings, f"{refs}, {what}, {took}", *(f"note: {note}" for note in result.notes))
    emit(settings, result, [f"{result.url}@{result.seq}"])
