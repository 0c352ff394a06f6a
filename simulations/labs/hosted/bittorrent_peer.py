"""One libtorrent peer: `seed|super|fetch TORRENT FOLDER ADDRESS PEER…`.

A seed makes the torrent, serves, and says "done" at once. Who fetches says "ready", waits for a line, fetches, says
"done" and goes on serving until it is stopped: an agent that has finished helps the others, as a node of Forge does.
"""

import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

PORT = 6881
PIECE = 256 * 1024


def main() -> int:
    """Exits with 0 after SIGTERM."""
    mode, torrent, folder, address, *peers = sys.argv[1:]
    libtorrent = loaded()
    session = libtorrent.session(settings(address))
    if mode == "fetch":
        print("ready", flush=True)
        sys.stdin.readline()
    else:
        make_torrent(libtorrent, Path(torrent), Path(folder) / "content.bin")
    parameters = libtorrent.add_torrent_params()
    parameters.ti = libtorrent.torrent_info(torrent)
    parameters.save_path = folder
    if mode != "fetch":
        parameters.flags |= libtorrent.torrent_flags.seed_mode
    if mode == "super":
        parameters.flags |= libtorrent.torrent_flags.super_seeding
    handle = session.add_torrent(parameters)
    for peer in peers:
        handle.connect_peer((peer, PORT))
    while not handle.status().is_seeding:
        time.sleep(0.02)
    print("done", flush=True)
    while True:
        time.sleep(3600)


def loaded() -> Any:
    """The library, whose own type hints are narrower than what it takes."""
    try:
        return import_module("libtorrent")
    except ImportError:
        sys.exit("libtorrent is not installed: pip install 'forge-p2p[lab]'")


def settings(address: str) -> dict[str, Any]:
    """Nothing is asked of the world outside; several connections from one address would be fine. TCP alone: with uTP,
    which yields to other traffic and takes turns in user space, runs took longer."""
    return {
        "listen_interfaces": f"{address}:{PORT}",
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "enable_outgoing_utp": False,
        "enable_incoming_utp": False,
        "allow_multiple_connections_per_ip": True,
        "connection_speed": 200,
        "torrent_connect_boost": 50,
        "auto_sequential": False,
    }


def make_torrent(libtorrent: Any, torrent: Path, content: Path) -> None:
    files = libtorrent.file_storage()
    libtorrent.add_files(files, str(content))
    creator = libtorrent.create_torrent(files, PIECE)
    libtorrent.set_piece_hashes(creator, str(content.parent))
    torrent.write_bytes(libtorrent.bencode(creator.generate()))


if __name__ == "__main__":
    sys.exit(main())
