"""The node's operations as what runs git sees them: in the node that is up, or in this process."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from forge_p2p.content.gitmanifest import GitManifest, decode_manifest
from forge_p2p.content.pathtext import path_text
from forge_p2p.node.repositories.results import RepositoryFilesResult, RepositoryPutResult, RepositoryResult
from forge_p2p.node.results import Result


class Run(Protocol):
    """Runs an operation; what it emits goes to `on_bytes`."""

    def __call__(
        self, name: str, arguments: dict[str, Any], on_bytes: Callable[[bytes], object] | None = None
    ) -> Result: ...


@dataclass(frozen=True, slots=True)
class Published:
    """A repository as its name or ticket says. `manifest` is `None` while nothing is published under the name."""

    about: RepositoryResult
    manifest: GitManifest | None


class Node:
    """`what`: the name or ticket of one repository; `in_network`: the name's network, where that has to be said."""

    def __init__(self, run: Run, what: str, in_network: str = "") -> None:
        self._what = what
        self._in_network = in_network
        self._run = run

    def read(self) -> Published:
        """What it is now. Raises `NotFound`, `HomeUnreachable` as `PeerError`, `Malformed`, `Untrusted`."""
        data = bytearray()
        about = self._run("git_read", {"name": self._what, "in_network": self._in_network}, data.extend)
        assert isinstance(about, RepositoryResult)
        return Published(about, decode_manifest(bytes(data)) if about.link else None)

    def place(self, published: Published, folder: bytes, names: Mapping[bytes, bytes]) -> RepositoryFilesResult:
        """Puts files of its packs into a folder; `names` there by path in the listing."""
        about = published.about
        arguments = {
            "what": about.link if about.member else self._what,
            "folder": path_text(folder),
            "names": {path_text(path): path_text(name) for path, name in names.items()},
            "in_network": about.network,
        }
        placed = self._run("git_files", arguments)
        assert isinstance(placed, RepositoryFilesResult)
        return placed

    def put(self, published: Published, folder: bytes) -> RepositoryPutResult:
        """Makes the name stand for what is in `folder`. Raises `Conflict` if it was moved since it was read."""
        about = published.about
        arguments = {
            "name": about.name,
            "folder": path_text(folder),
            "base": about.link,
            "after": about.seq,
            "in_network": about.network,
        }
        put = self._run("git_put", arguments)
        assert isinstance(put, RepositoryPutResult)
        return put
