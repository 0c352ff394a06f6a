"""`forge git upkeep`: a name's packs made few, by whoever may write."""

from time import monotonic

import click

from forge_p2p.cli.environment import git_environment, repository_url
from forge_p2p.cli.names import IN_NETWORK
from forge_p2p.cli.output import emit, remark
from forge_p2p.cli.run import runner
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.cli.units import format_count, format_duration, format_size
from forge_p2p.node.home import Home
from forge_p2p.node.repositories.results import UpkeepResult


@click.command("upkeep", cls=ForgeCommand)
@click.argument("name")
@IN_NETWORK
@pass_settings
def command(settings: Settings, name: str, in_network: str) -> None:
    """Make the many small packs of NAME few, and its commit-graph anew when it is time.

    For names that are pushed to and seldom published: a clone then has few packs to join. Needs git, the right to
    publish, and no repository: the node has one of its own. Refs stay as they are, and who pushes or fetches meanwhile
    notices nothing. Where nothing is to do, nothing is done; the record that NAME is at is the last line of the output.
    """
    from forge_p2p.git.calls import Node
    from forge_p2p.git.upkeep import keep_up

    repository_url(name, in_network)
    began = monotonic()
    node = Node(runner(settings), name, in_network)
    tended = keep_up(node, Home(settings.home).cache, git_environment(settings))
    about, put = tended.published.about, tended.put
    before = len(tended.published.manifest.packs) if tended.published.manifest else 0
    seq, new, notes = (put.seq, put.new_bytes, put.notes) if put else (about.seq, 0, about.notes)
    result = UpkeepResult(
        url=f"forge://{about.network}/{about.name}",
        seq=seq,
        moved=put is not None,
        before=before,
        packs=tended.packs,
        joined=tended.joined,
        graph=tended.graph,
        new_bytes=new,
        seconds=monotonic() - began,
        notes=[*notes, *tended.left],
    )
    remark(settings, _told(result), *(f"note: {note}" for note in result.notes))
    emit(settings, result, [f"{result.url}@{result.seq}"])


def _told(result: UpkeepResult) -> str:
    packs, took = format_count(result.packs, "pack"), format_duration(result.seconds)
    if not result.moved:
        return f"{packs}, nothing to do, {took}"
    done = [f"{result.joined} packs became one"] if result.joined else []
    done += ["a new commit-graph"] if result.graph else []
    return f"{', '.join(done)}: {packs} now, {format_size(result.new_bytes)} new, {took}"
