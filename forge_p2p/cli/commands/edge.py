"""`forge edge`: a bucket that holds what is pushed there, for when no peer is awake."""

import click

from forge_p2p.cli.names import IN_NETWORK
from forge_p2p.cli.output import about_get, emit, remark
from forge_p2p.cli.run import path_argument, run_operation
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.cli.units import format_count, format_duration, format_size, parse_duration
from forge_p2p.errors import BucketError, ForgeError
from forge_p2p.node.edge.results import EdgeCheck, EdgeGc, EdgePush, EdgeStatus
from forge_p2p.node.results import GetResult


@click.group("edge")
def command() -> None:
    """Push to, pull from and look after a bucket."""


@command.command("set", cls=ForgeCommand)
@click.argument("url")
@click.option("--endpoint", default="", metavar="URL", help="Address of an S3 API that is not Amazon's.")
@click.option("--region", default="", help="The bucket's region, where it needs one.")
@click.option("--cdn", default="", metavar="URL", help="Read content through this address.")
@pass_settings
def set_bucket(settings: Settings, url: str, endpoint: str, region: str, cdn: str) -> None:
    """Use the bucket at URL: s3://BUCKET/PREFIX, gs://, az://, or file:///FOLDER.

    Credentials are taken from the environment (AWS_ACCESS_KEY_ID and so on), or from the file edge.credentials in the
    node's folder; never from the command line. The bucket is tried first: one that lets two writers win is refused.
    """
    arguments = {"url": url, "endpoint": endpoint, "region": region, "cdn": cdn}
    result = run_operation(settings, EdgeStatus, "edge_set", arguments)
    remark(settings, "this node uses the bucket from now on")
    emit(settings, result, _about(result))


@command.command("status", cls=ForgeCommand)
@pass_settings
def status(settings: Settings) -> None:
    """Show the bucket and what is in it."""
    result = run_operation(settings, EdgeStatus, "edge_status", {})
    emit(settings, result, _about(result))


@command.command("push", cls=ForgeCommand)
@click.argument("what", metavar="LINK|NAME")
@IN_NETWORK
@click.option("--records", is_flag=True, help="Copy the name's signed records, too, for forge seed restore.")
@pass_settings
def push(settings: Settings, what: str, in_network: str, records: bool) -> None:
    """Upload what the bucket lacks of a link, or of what a name stands for.

    Several small contents travel together, so that a tree of thousands of files costs a few requests. The link is the
    last line of the output.
    """
    arguments = {"what": what, "in_network": in_network, "records": records}
    result = run_operation(settings, EdgePush, "edge_push", arguments)
    remark(settings, *(f"note: {note}" for note in result.notes))
    if result.unchanged:
        remark(settings, "all of it was there already")
    else:
        what_new = f"{format_count(result.new_chunks, 'chunk')} of {result.chunks:,} new"
        cost = f"{format_count(result.objects, 'object')}, {format_count(result.requests, 'request')}"
        remark(settings, f"{what_new}: {cost}, {format_size(result.sent)} sent, {format_duration(result.seconds)}")
    if result.records:
        remark(settings, f"{format_count(result.records, 'record')} copied")
    emit(settings, result, [result.link])


@command.command("pull", cls=ForgeCommand)
@click.argument("what", metavar="LINK|NAME[@SEQ]")
@click.argument("destination", metavar="DEST")
@IN_NETWORK
@click.option("--check", is_flag=True, help="Read and compare every file that is there, whatever its times say.")
@pass_settings
def pull(settings: Settings, what: str, destination: str, in_network: str, check: bool) -> None:
    """Make DEST what a link is, or what was last pushed of a name, from the bucket alone.

    forge get and forge pull ask peers first and the bucket when they are slow or away; this asks no peer.
    """
    arguments = {
        "what": what,
        "destination": path_argument(destination),
        "in_network": in_network,
        "check": check,
    }
    result = run_operation(settings, GetResult, "edge_pull", arguments)
    remark(settings, *about_get(result))
    emit(settings, result, [result.link])
    if result.problems:
        raise ForgeError(
            f"{format_count(len(result.problems), 'entry', 'entries')} of {result.destination} could not be restored",
            hint="what is in their way is named above; the same command completes the rest",
        )


@command.command("drop", cls=ForgeCommand)
@click.argument("what", metavar="LINK|NAME")
@IN_NETWORK
@pass_settings
def drop(settings: Settings, what: str, in_network: str) -> None:
    """Keep in the bucket no longer what was pushed.

    What nothing else needs is deleted by forge edge gc.
    """
    result = run_operation(settings, EdgeStatus, "edge_drop", {"what": what, "in_network": in_network})
    emit(settings, result, _about(result))


@command.command("gc", cls=ForgeCommand)
@click.option("--grace", default="1d", show_default=True, metavar="TIME", help="How old what goes has to be.")
@pass_settings
def gc(settings: Settings, grace: str) -> None:
    """Delete from the bucket what nothing needs.

    What a link or name that was pushed needs stays, and what is being pushed meanwhile: pushes and collections may run
    at the same time, from any machines. What is not needed is marked first and deleted by a later run, once it has been
    marked for the time of --grace, so that nobody who reads it just now is disturbed.
    """
    result = run_operation(settings, EdgeGc, "edge_gc", {"grace": parse_duration(grace)})
    deleted = f"{format_count(result.deleted, 'object')} deleted, {format_size(result.freed_bytes)}"
    lines = [f"{deleted}; {result.dropped:,} marked; {format_count(result.rewritten, 'bundle')} written anew"]
    emit(settings, result, lines)


@command.command("check", cls=ForgeCommand)
@click.option("--repair", is_flag=True, help="Put right what is wrong, from what is here.")
@click.option("--quick", is_flag=True, help="Look at what there is, without reading it.")
@pass_settings
def check(settings: Settings, repair: bool, quick: bool) -> None:
    """Look whether everything in the bucket is there and right."""
    result = run_operation(settings, EdgeCheck, "edge_check", {"repair": repair, "quick": quick})
    summary = f"{format_count(result.objects, 'object')}, {format_size(result.bytes)} read"
    emit(settings, result, [*(f"problem  {each}" for each in result.problems), summary])
    if result.unrepaired:
        hint = "a node that has the content puts it right" if repair else "forge edge check --repair"
        raise BucketError(f"{format_count(result.unrepaired, 'problem')} in the bucket", hint=hint)
    if result.problems:
        remark(settings, f"all {len(result.problems)} are put right")


def _about(result: EdgeStatus) -> list[str]:
    reached = [f"{name} {value}" for name, value in (("endpoint", result.endpoint), ("cdn", result.cdn)) if value]
    content = f"{format_count(result.chunks, 'chunk')} in {format_count(result.bundles, 'bundle')}"
    lines = [
        f"bucket   {result.url}" + "".join(f", {each}" for each in reached),
        f"content  {content}, {format_size(result.bytes)}",
        f"records  {result.records:,}",
        *(f"kept     {pin}" for pin in result.pins),
    ]
    if result.waiting:
        lines.append(f"waiting  {format_count(result.waiting, 'object')} to be deleted by forge edge gc")
    return [*lines, *result.notes]
