"""What holds for a whole command: the node's folder, how results are written, and the settings file.

Together with `main` the only place that reads the environment. The common options stand on `forge` itself and on every
command, so that `forge --json status` and `forge status --json` are the same.
"""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click

from forge_p2p.config import NodeConfig
from forge_p2p.errors import UsageError


def default_home() -> Path:
    """FORGE_HOME; else `forge` in XDG_DATA_HOME where that is set; else `~/.forge`."""
    if chosen := os.environ.get("FORGE_HOME"):
        return Path(chosen)
    if data := os.environ.get("XDG_DATA_HOME"):
        return Path(data) / "forge"
    try:
        return Path.home() / ".forge"
    except RuntimeError as error:
        raise UsageError("this account has no home folder", hint="choose the node's folder with --home") from error


@dataclass(slots=True)
class Settings:
    """Filled while the command line is read, and not changed after that. `home` is absolute."""

    chosen_home: str = ""
    json: bool = False
    quiet: bool = False
    debug: bool = False
    _config: NodeConfig | None = field(default=None, repr=False)

    @property
    def home(self) -> Path:
        home = Path(self.chosen_home) if self.chosen_home else default_home()
        return Path(os.path.abspath(home.expanduser()))

    @property
    def config(self) -> NodeConfig:
        """The settings file, read on first use. Raises `UsageError`."""
        if self._config is None:
            from forge_p2p.cli.config import load_config
            from forge_p2p.node.edge.settings import PREFIXES

            config = load_config(self.home / "config.toml")
            secrets = {name: value for name, value in os.environ.items() if name.startswith(PREFIXES)}
            self._config = replace(config, token=os.environ.get("FORGE_TOKEN", ""), edge_credentials=secrets)
        return self._config


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
