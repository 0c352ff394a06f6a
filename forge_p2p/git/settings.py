"""What git's configuration says of Forge, and what else of it is looked at. Imports nothing: whom else to ask than
Forge is known before the rest is imported."""

from collections.abc import Mapping

_ASKED = (
    r"^(forge\..*|checkout\.workers|core\.(bare|gitproxy)|extensions\.objectformat"
    r"|protocol\.(allow|version|git\.allow)|url\..*)$"
)
SETTINGS = ("config", "--null", "--get-regexp", _ASKED)
"""Lists it: one question for all."""

WORKERS = "checkout.workers"

TELL_WORKERS = ("config", "--local", WORKERS, "0")
"""0: as many as there are processors."""


def settings_in(output: bytes) -> dict[str, str]:
    """Values by name, as `git config --null` lists them; of a name with several the last."""
    entries = (entry.partition("\n") for entry in output.decode(errors="surrogateescape").split("\0") if entry)
    return {name: value.strip() for name, _, value in entries}


def upstream_in(settings: Mapping[str, str], name: str) -> tuple[str, str]:
    """For which name or beginning of one a git server is configured that has this repository, and its URL there; both
    empty where nobody has said."""
    best, url = "", ""
    if "@" in name:  # as it was by some record, which no server knows
        return best, url
    for key, value in settings.items():
        if not key.endswith(".upstream"):
            continue
        configured = key.removeprefix("forge.").removesuffix(".upstream")
        covers = configured == name or (configured.endswith("/") and name.startswith(configured))
        if covers and len(configured) >= len(best):
            best, url = configured, value + name.removeprefix(configured)
    return best, url


def may_tell_workers(settings: Mapping[str, str]) -> bool:
    """Whether nobody has said otherwise, in whichever of git's files, and there is something to check out to."""
    return not settings.get(WORKERS) and settings.get("core.bare") != "true"
