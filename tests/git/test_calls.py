"""What the helper asks of the node that is up, seen by a relay in front of the node's control socket."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import msgspec

from forge_p2p.node.control import HEADER, Call, unpack_header
from tests.git.harness import Person


def exactly(stream: socket.socket, size: int) -> bytes:
    """So many bytes, or fewer at the end."""
    data = b""
    while len(data) < size and (piece := stream.recv(size - len(data))):
        data += piece
    return data


def passed_on(source: socket.socket, sink: socket.socket) -> None:
    """Everything from one to the other, until it ends."""
    with suppress(OSError):
        while piece := source.recv(1 << 16):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def overheard(person: Person, folder: Path) -> Iterator[tuple[Person, list[str]]]:
    """The same person with another folder for a node's, where every call goes to their node and is written down."""
    folder.mkdir()
    calls: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(folder / "control.sock"))
        listener.listen()

        def serve() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=relay, args=(listener.accept()[0],)).start()

        def relay(client: socket.socket) -> None:
            with client, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as node:
                header = exactly(client, HEADER.size)
                body = exactly(client, unpack_header(header)[1])
                calls.append(msgspec.json.decode(body, type=Call).operation)
                node.connect(str(person.home / "control.sock"))
                node.sendall(header + body)
                back = threading.Thread(target=passed_on, args=(client, node))
                back.start()
                passed_on(node, client)
                client.shutdown(socket.SHUT_RD)
                back.join()

        threading.Thread(target=serve).start()
        yield replace(person, home=folder), calls
        listener.shutdown(socket.SHUT_RDWR)


def test_each_thing_is_asked_once(ada: Person, bob: Person, tmp_path: Path) -> None:
    source = ada.repository("source")
    ada.forge("git", "publish", str(source), "calls")
    with overheard(bob, tmp_path / "home") as (relayed, calls):
        relayed.git("clone", "forge://calls", "copy", FORGE_STANDBY="0")
        assert calls == ["git_read", "git_files"]
        calls.clear()
        relayed.git("ls-remote", "forge://calls", FORGE_STANDBY="0")
        assert calls == ["git_read"]
        calls.clear()
        relayed.commit(relayed.folder / "copy", "new")
        relayed.git("push", "origin", "main", at=relayed.folder / "copy", FORGE_STANDBY="0")
        assert calls == ["git_read", "git_put"]
