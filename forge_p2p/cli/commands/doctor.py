"""`forge doctor`: what does not work here, and what to do."""

from collections.abc import Iterator

import click

from forge_p2p.cli.output import emit
from forge_p2p.cli.progress import ProgressBar
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.errors import ForgeError
from forge_p2p.node.home import Home
from forge_p2p.node.results import DoctorResult, Finding

MARKS = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}


@click.command("doctor", cls=ForgeCommand)
@pass_settings
def command(settings: Settings) -> None:
    """Say what does not work here, and what to do.

    Looks at the node's folder and store, at the disk, the clock, UDP, multicast, memberships and static peers; with a
    node up or without. Ends with exit code 1 if something fails; warnings are about what works less well than it could.
    """
    from forge_p2p.node import inprocess

    # In this process even when a node is up, since that may be what does not work.
    with ProgressBar(settings) as progress:
        result = inprocess.run(Home(settings.home), settings.config, "doctor", {}, progress)
    assert isinstance(result, DoctorResult)
    emit(settings, result, _lines(result))
    if result.failed:
        raise click.exceptions.Exit(ForgeError.exit_code)


def _lines(result: DoctorResult) -> Iterator[str]:
    width = max(len(finding.check) for finding in result.findings)
    for finding in result.findings:
        yield from _about(finding, width)


def _about(finding: Finding, width: int) -> Iterator[str]:
    yield f"{MARKS[finding.verdict]}  {finding.check:{width}}  {finding.message}"
    if finding.hint:
        yield f"{'':{width + 8}}{finding.hint}"
