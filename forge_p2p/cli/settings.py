"""What holds for a whole command: the node's folder, how results are written, and the settings file.

Together with `main` the only place that reads the environment. The common options stand on `forge` itself and on every
command, so that `forge --json status` and `forge status --json` are the same.
"""

from typing import Any

import click

from forge_p2p.cli.home import Settings, with_bucket_secrets

__all__ = ["ForgeCommand", "Settings", "common_options", "pass_settings", "with_bucket_secrets"]

pass_settings = click.make_pass_decorator(Settings)


def _remember(context: click.Context, option: click.Parameter, value: Any) -> None:
    if value:
        setattr(context.ensure_object(Settings), str(option.name), value)


def common_options() -> list[click.Parameter]:
    """Fresh copies of the options that every command has."""

    def option(*names: str, **attributes: Any) -> click.Option:
        return click.Option(names, expose_value=False, callback=_remember, **attributes)

    return [
        option("--home", "chosen_home", metavar="DIR", help="The node's folder.  [env: FORGE_HOME]"),
        option("--json", is_flag=True, help="Write the result as one line of JSON."),
        option("--quiet", "-q", is_flag=True, help="No progress, no remarks."),
        option("--debug", is_flag=True, help="Show where an error came from."),
    ]


class ForgeCommand(click.Command):
    """A command with the common options."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.params.extend(common_options())
