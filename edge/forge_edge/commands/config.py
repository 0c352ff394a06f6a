"""`forge config`: a seed's file, looked at before it is used."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.cli.units import format_count
from forge_p2p.content.membership import Role
from forge_p2p.errors import ForgeError, UsageError

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
    files that it names can be read, and whether upkeep can be done by who has these tokens. Nothing is started.
    """
    from forge_edge.seeds.file import read_file, read_text

    text = read_text(Path(file))
    seed, faults = read_file(text)
    faults = faults or sorted([*unreadable(seed, text), *without_upkeep(seed, text)], key=lambda each: each.line)
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


def without_upkeep(seed: "SeedFile", text: str) -> "list[Fault]":
    """Repositories that are to be kept up where git is missing, or the right to write."""
    import shutil

    from forge_edge.seeds.file import Fault
    from forge_edge.seeds.lines import Lines

    lines = Lines(text)
    roles = roles_given(seed) if any(each.upkeep for each in seed.follow) else {}
    found = []
    for number, each in enumerate(seed.follow):
        if not each.upkeep:
            continue
        line = lines.of(f"follow[{number}].upkeep")
        if shutil.which("git") is None:
            found.append(Fault(line, f"upkeep of {each.name} needs git, which is not there", "apt-get install git"))
        network = each.name.partition("/")[0]
        role = roles.get(network)
        if role is not None and not role.covers(Role.WRITER):
            message = f"upkeep of {each.name} puts records, and the token for {network} makes a {role.name.lower()}"
            found.append(Fault(line, message, "forge network invite --role writer, at an admin, makes one that may"))
    return found


def roles_given(seed: "SeedFile") -> "dict[str, Role]":
    """What its tokens make of the seed, by what it calls the networks; nothing of those that cannot be read or are not
    good any more, nor of networks that were made by the seed itself."""
    from time import time

    from forge_edge.seeds.arranging import joining
    from forge_p2p.content.invite import parse_token, verify_token
    from forge_p2p.node.home import Home

    found = {}
    for entry in seed.networks:
        with suppress(ForgeError):
            if arguments := joining(Home(seed.home), entry):
                token = parse_token(arguments["token"])
                found[entry.name or token.name] = verify_token(token, time()).role
    return found
