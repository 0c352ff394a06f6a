"""Git LFS over Forge: the standalone transfer agent that `git lfs` runs, speaking its custom transfer protocol.

An object of LFS is a file known by its SHA-256. Here it is a name, `lfs/SHA-256`, written once, that stands for a
directory with this one file: so it is chunked, found, fetched from many and kept as any content is, and put at the
name's home before a push is done. What comes down is hashed: a name that stands for other bytes is refused.

Lines of JSON on both sides, as git-lfs describes its custom transfers. Only `git lfs` talks to this, on this machine;
still, a name of an object is looked at before it becomes part of a path.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final, Protocol

from forge_p2p.content.pathtext import path_text
from forge_p2p.errors import Conflict, CorruptChunk, ForgeError, Malformed

AGENT: Final = "forge"
"""What git's configuration calls the agent."""

REMOTES: Final = "forge://**"
"""Remotes of a repository where git-lfs may be told for all of them at once, as gitignore(5) has patterns."""

_OID = re.compile(r"[0-9a-f]{64}").fullmatch
_FILE: Final = "object"
_PIECE: Final = 1 << 20
_NEW: Final = 0
"""The record after which an object's name is published: it is written once."""


class Run(Protocol):
    """Runs an operation of the node; `name` and arguments as in `node.operations`."""

    def __call__(self, name: str, arguments: dict[str, Any]) -> object: ...


Network = Callable[[str], str]
"""The network that a remote's repositories are in, by the remote's name or URL; empty where the node is in one only."""


class Transfer:
    """One run of the agent: `handle` each line, write what it returns. `folder`: where downloads lie until git-lfs
    takes them, which should be on the repository's file system."""

    def __init__(self, run: Run, network: Network, folder: Path) -> None:
        self._run = run
        self._network_of = network
        self._network = ""
        self._folder = folder
        self._left: Path | None = None

    def handle(self, line: str) -> list[dict[str, object]]:
        """The answers to one line. Raises `Malformed` for what is no message."""
        try:
            message = json.loads(line)
            event = message["event"]
        except (ValueError, KeyError, TypeError) as error:
            raise Malformed(f"git lfs said what is no message: {line[:80]!r}") from error
        self._clean()
        if event == "init":
            self._network = self._network_of(str(message.get("remote", "")))
            return [{}]
        if event in ("upload", "download"):
            return self._transferred(event, message)
        return []  # "terminate", and what later versions may say in passing

    def _transferred(self, event: str, message: dict[str, Any]) -> list[dict[str, object]]:
        oid = str(message.get("oid", ""))
        try:
            if not _OID(oid):
                raise Malformed(f"{oid!r} names no LFS object")
            if event == "upload":
                self._upload(oid, Path(str(message.get("path", ""))))
                answer: dict[str, object] = {"event": "complete", "oid": oid}
            else:
                answer = {"event": "complete", "oid": oid, "path": str(self._download(oid))}
        except (ForgeError, OSError) as error:
            code = error.exit_code if isinstance(error, ForgeError) else 1
            return [{"event": "complete", "oid": oid, "error": {"code": code, "message": str(error)}}]
        size = message.get("size", 0)
        return [{"event": "progress", "oid": oid, "bytesSoFar": size, "bytesSinceLast": size}, answer]

    def _upload(self, oid: str, path: Path) -> None:
        staged = self._staged()
        shutil.copyfile(path, staged / _FILE)
        os.utime(staged / _FILE, (0, 0))  # the same object from two machines is the same content
        arguments = {
            "name": f"lfs/{oid}",
            "path": path_text(os.fsencode(staged)),
            "in_network": self._network,
            "protect": None,
            "expires": 0.0,
            "after": _NEW,
            "home": "",
        }
        try:
            self._run("publish", arguments)
        except Conflict:
            # Somebody has put it before: which is as good as this, if a reader would get it.
            self._clean()
            self._download(oid)

    def _download(self, oid: str) -> Path:
        staged = self._staged()
        arguments = {
            "name": f"lfs/{oid}",
            "destination": path_text(os.fsencode(staged)),
            "in_network": self._network,
            "check": False,
            "outside_links": False,
        }
        self._run("pull", arguments)
        path = staged / _FILE
        if path.is_symlink() or not path.is_file() or _sha256(path) != oid:
            raise CorruptChunk(f"the name lfs/{oid} stands for another content", hint="forge log says who published it")
        return path

    def _staged(self) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._left = Path(mkdtemp(prefix="forge-", dir=self._folder))
        return self._left

    def _clean(self) -> None:
        """Removes what the transfer before has left: git-lfs has taken its file by now."""
        if self._left is not None:
            shutil.rmtree(self._left, ignore_errors=True)
            self._left = None


def _sha256(path: Path) -> str:
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            hasher.update(piece)
    return hasher.hexdigest()


def answers(transfer: Transfer, lines: Iterable[str]) -> Iterable[str]:
    """The agent's lines to git-lfs's, until that has no more."""
    for line in lines:
        for answer in transfer.handle(line):
            yield json.dumps(answer) + "\n"
    transfer.handle('{"event": "terminate"}')


def settings(program: str) -> dict[str, str]:
    """git's configuration that has git-lfs use the agent: `program` is how `forge` is called."""
    return {
        f"lfs.customtransfer.{AGENT}.path": program,
        f"lfs.customtransfer.{AGENT}.args": "lfs transfer",
        f"lfs.customtransfer.{AGENT}.concurrent": "true",
        "lfs.standalonetransferagent": AGENT,
    }


def included(file: Path) -> tuple[str, str]:
    """Name and value of git's configuration that has `file` count in every repository with such a remote, from the
    moment that it has one: so in a clone before files are checked out. git-config(1), conditional includes."""
    return f"includeIf.hasconfig:remote.*.url:{REMOTES}.path", str(file)
