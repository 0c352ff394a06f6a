"""`forge config`: a seed's file, looked at before it is used."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.cli.units import format_count
from forge_p2p.errors import UsageError

if TYPE_CHECKING:
    from forge_edge.seeds.file import Fault, SeedFile


@click.group("config")
def command() -> None:
    """Check a seed's file."""


@command.command("check", cls=ForgeCommand)
@click.argument("file", type=click.Path(dir_okay=False))
@pass_settings
def check(settings: Settings, file: str) -> None:
    """Check a seed's file.

    Tells all that is wrong with FILE, each with its line, as FILE:LINE: MESSAGE; also whether the token and certificate
    files that it names can be read. Nothing is started.
    """
    from forge_edge.seeds.file import read_file, read_text

    text = read_text(Path(file))
    seed, faults = read_file(text)
    faults = faults or unreadable(seed, text)
    if settings.json:
        import msgspec

        click.echo(msgspec.json.encode({"file": file, "faults": faults}).decode())
    else:
        for each in faults:
            click.echo(f"{file}:{each.line}: {each.message}{f' ({each.hint})' if each.hint else ''}")
    if faults:
        raise UsageError(f"{file} has {format_count(len(faults), 'fault')}")


def unreadable(seed: "SeedFile", text: str) -> "list[Fault]":
    """Files that are named and cannot be read, or could be by others though they are secret."""
    from forge_edge.seeds.file import Fault
    from forge_edge.seeds.lines import Lines

    lines = Lines(text)
    named = {f"network[{number}].token_file": each.token_file for number, each in enumerate(seed.networks)}
    if seed.gateway is not None and seed.gateway.tls_certificate:
        named["gateway.tls_key"] = seed.gateway.tls_key
        named["gateway.tls_certificate"] = seed.gateway.tls_certificate
    found = []
    for key, name in named.items():
        line = lines.of(key)
        try:
            mode = Path(name).stat().st_mode
            with open(name, "rb"):
                pass
        except OSError as error:
            found.append(Fault(line, f"cannot read {name}: {error.strerror}", ""))
        else:
            if key != "gateway.tls_certificate" and mode & 0o077:
                found.append(Fault(line, f"{name} can be read by others (mode {mode & 0o777:o})", f"chmod 600 {name}"))
    return found
