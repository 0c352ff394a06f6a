"""Where `forge` starts, and the one place where errors become messages and exit codes (docs/errors.md)."""

import errno
import os
import sys
from collections.abc import Sequence

import click

from forge_p2p.cli.app import forge
from forge_p2p.cli.settings import Settings
from forge_p2p.errors import DiskError, DiskFull, ForgeError, InternalError, Interrupted, UsageError

BROKEN_PIPE = 141
"""128 + SIGPIPE: what a shell reports for a program whose reader went away."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    return run_program(forge, "forge", sys.argv[1:] if arguments is None else arguments)


def run_program(program: click.Group, name: str, arguments: Sequence[str]) -> int:
    """Runs one command of a program called `name` and returns its exit code."""
    settings = Settings()
    try:
        return _run(program, name, list(arguments), settings)
    except click.exceptions.NoArgsIsHelpError as help_text:
        sys.stderr.write(f"{help_text.format_message()}\n")
        return UsageError.exit_code
    except BaseException as error:  # noqa: BLE001 (what is not ours to handle is raised again by translated)
        if settings.debug:
            _print_traceback()
        cause = _first_of(error)
        return _reader_gone() if isinstance(cause, BrokenPipeError) else _fail(translated(cause), name, settings)


def _run(program: click.Group, name: str, arguments: list[str], settings: Settings) -> int:
    if instruction := os.environ.get("_FORGE_COMPLETE"):
        from click.shell_completion import shell_complete

        return shell_complete(program, {"obj": settings}, name, "_FORGE_COMPLETE", instruction)
    try:
        with program.make_context(name, arguments, obj=settings) as context:
            program.invoke(context)
    except click.exceptions.Exit as end:
        sys.stdout.flush()
        return end.exit_code
    sys.stdout.flush()
    return 0


def translated(error: BaseException) -> ForgeError:
    """What went wrong, as an error of ours. Lets through what is meant to end the interpreter."""
    if isinstance(error, ForgeError):
        return error
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "forge"
        return UsageError(_sentence(error.format_message()), hint=f"{path} --help")
    if isinstance(error, click.ClickException):
        return UsageError(_sentence(error.format_message()))
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return Interrupted("interrupted")
    if isinstance(error, OSError):
        return _disk_error(error)
    if isinstance(error, Exception):
        return InternalError(
            f"unexpected {type(error).__name__}: {error}", hint="--debug shows where; please report it"
        )
    raise error


def _first_of(error: BaseException) -> BaseException:
    """The error itself; of several tasks' errors the one that tells most: an interrupt or one of ours, if any."""
    while isinstance(error, BaseExceptionGroup):
        error = (error.subgroup((KeyboardInterrupt, ForgeError)) or error).exceptions[0]
    return error


def _reader_gone() -> int:
    """What is still buffered can reach nobody; without this the interpreter would try again, and complain, at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE


def _disk_error(error: OSError) -> ForgeError:
    """Met here only while writing to standard output; everything below translates its own."""
    where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    kind = DiskFull if error.errno in {errno.ENOSPC, errno.EDQUOT} else DiskError
    return kind(f"{where}{error.strerror or error}")


def _fail(error: ForgeError, name: str, settings: Settings) -> int:
    if settings.json:
        sys.stderr.write(_as_json(error))
    else:
        sys.stderr.write(f"{name}: error: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"{name}: hint: {error.hint}\n")
    return error.exit_code


def _as_json(error: ForgeError) -> str:
    import json

    fields = {"error": type(error).__name__, "message": error.message, "hint": error.hint, "exit": error.exit_code}
    return json.dumps(fields) + "\n"


def _sentence(text: str) -> str:
    """Click's sentence in the form of our messages: no capital, no full stop."""
    text = text.removesuffix(".")
    return text[:1].lower() + text[1:]


def _print_traceback() -> None:
    import traceback

    traceback.print_exc()


if __name__ == "__main__":
    sys.exit(main())
