"""What stands between git and its upstream in Forge's place, whichever way it gets there."""

import os
from abc import abstractmethod
from collections.abc import Callable, Mapping

NEVER = ("forge", "ext")
"""Schemes that an upstream is not turned to by, whatever it is rewritten to by `url.….insteadOf`."""

SERVICES = (b"git-upload-pack", b"git-upload-archive")
"""What git is connected to; pushes go by manifests alone."""


class StandIn:
    """To `url`, for what git calls `remote`. `hear` is told each option that git has set, as it says it. Before the
    server is asked for anything `before_asking` is called, and before objects are fetched `before_fetch`, once each."""

    def __init__(
        self,
        remote: str,
        url: str,
        environment: Mapping[str, str],
        hear: Callable[[bytes], object],
        before_asking: Callable[[], object],
        before_fetch: Callable[[], object],
    ) -> None:
        self.remote = remote
        self.url = url
        self.environment = without_detours(environment)
        self.hear = hear
        self._before = {"asking": before_asking, "fetching": before_fetch}

    @abstractmethod
    def run(self, source: int, sink: int) -> bytes | str:
        """Tells git what it can ask for, and is what answers, until git asks for what is not for the upstream, such as
        a push: the line; or is done: why there is nothing to be had, empty if there is no such reason."""

    def begin_asking(self) -> None:
        self._begin("asking")

    def begin_fetching(self) -> None:
        self._begin("fetching")

    def _begin(self, what: str) -> None:
        if before := self._before.pop(what, None):
            before()


def stand_in(url: str, settings: Mapping[str, str], environment: Mapping[str, str]) -> type[StandIn] | None:
    """What git can be given in Forge's place from the beginning; `None` for servers that have to be asked beside."""
    if url.startswith(("https://", "http://")):
        from forge_p2p.git.remote.relay import Relay

        return Relay
    if url.startswith("git://"):
        from forge_p2p.git.remote.daemon import Daemon, is_plain

        return Daemon if is_plain(url, settings, environment) else None
    return None


def write_all(descriptor: int, data: bytes) -> None:
    """Writes all of it, as far as the other end takes it. Raises `OSError`."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def without_password(url: str) -> str:
    """To show it."""
    scheme, separator, rest = url.partition("://")
    user, at, place = rest.partition("@")
    return f"{scheme}{separator}{place}" if at and "/" not in user else url


def turning(reason: str, url: str) -> str:
    """What the person is told when the server is asked instead of Forge."""
    return f"{reason}; turning to {without_password(url)}"


def nothing_either(url: str, why: str) -> str:
    """What the person is told when git has failed to get it there."""
    return f"{without_password(url)} gives nothing either ({why})"


def without_detours(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of git's commands that ask a server: a list of schemes in it is above all settings."""
    kept = dict(environment)
    if allowed := kept.get("GIT_ALLOW_PROTOCOL"):
        kept["GIT_ALLOW_PROTOCOL"] = ":".join(each for each in allowed.split(":") if each not in NEVER)
    return kept
