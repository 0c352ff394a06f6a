"""What git is run with when Forge runs it, and git runs Forge's helper in turn."""

import os
import sys
from pathlib import Path

from forge_p2p.cli.settings import Settings
from forge_p2p.errors import UsageError


def git_environment(settings: Settings) -> dict[str, str]:
    """This process's environment, in which git finds `git-remote-forge`, and that finds the same node."""
    kept = {name: value for name, value in os.environ.items() if name not in _OF_A_REPOSITORY}
    beside = Path(sys.executable).parent
    return {
        **kept,
        "FORGE_HOME": str(settings.home),
        "PATH": f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{beside}",
        "GIT_TERMINAL_PROMPT": os.environ.get("GIT_TERMINAL_PROMPT", "0"),
    }


_OF_A_REPOSITORY = frozenset(
    {
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_NAMESPACE",
        "GIT_PREFIX",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_GRAFT_FILE",
        "GIT_SHALLOW_FILE",
        "GIT_QUARANTINE_PATH",
    }
)
"""What a hook or an alias of some other repository leaves behind."""


def repository_url(name: str, in_network: str) -> str:
    """The URL of a repository by its name, or the name with its network before it. Raises `UsageError`."""
    if in_network and "/" in name and name.partition("/")[0] == in_network:
        raise UsageError(f"{name!r} names a network already", hint="leave --network out")
    if name.startswith("-") or not name:
        raise UsageError(f"{name!r} names no repository")
    return f"forge://{in_network}/{name}" if in_network else f"forge://{name}"
