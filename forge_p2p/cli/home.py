"""The environment as values: the node's folder, and the settings file in it.

Apart from `settings`, for what git runs must not pay for a library of command lines.
"""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from forge_p2p.cli.folder import default_folder
from forge_p2p.errors import UsageError

if TYPE_CHECKING:
    from forge_p2p.config import NodeConfig


def default_home() -> Path:
    """See `default_folder`. Raises `UsageError` where there is none."""
    folder = default_folder()
    if not folder:
        raise UsageError("this account has no home folder", hint="choose the node's folder with --home")
    return Path(folder)


@dataclass(slots=True)
class Settings:
    """Filled while the command line is read, and not changed after that. `home` is absolute."""

    chosen_home: str = ""
    json: bool = False
    quiet: bool = False
    debug: bool = False
    _config: "NodeConfig | None" = field(default=None, repr=False)

    @property
    def home(self) -> Path:
        home = Path(self.chosen_home) if self.chosen_home else default_home()
        return Path(os.path.abspath(home.expanduser()))

    @property
    def config(self) -> "NodeConfig":
        """The settings file, read on first use. Raises `UsageError`."""
        if self._config is None:
            from forge_p2p.cli.config import load_config

            config = with_bucket_secrets(load_config(self.home / "config.toml"))
            self._config = replace(config, token=os.environ.get("FORGE_TOKEN", ""))
        return self._config

    def on(self, home: Path, config: "NodeConfig") -> "Settings":
        """The same for another node, whose settings are elsewhere."""
        return replace(self, chosen_home=str(home), _config=config)


def with_bucket_secrets(config: "NodeConfig") -> "NodeConfig":
    """The settings with what the environment has to open buckets."""
    from forge_p2p.node.edge.settings import PREFIXES

    secrets = {name: value for name, value in os.environ.items() if name.startswith(PREFIXES)}
    return replace(config, edge_credentials=secrets)
