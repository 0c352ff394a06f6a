"""The settings file: strict, and every setting reaches its field."""

from dataclasses import fields
from pathlib import Path

import pytest

from forge_p2p.cli.config import SETTINGS, load_config, parse_config
from forge_p2p.config import Engine, NetConfig, NodeConfig, StoreConfig
from forge_p2p.errors import DiskError, UsageError
from tests.cli.harness import forge

FILE = Path("/somewhere/config.toml")

EVERYTHING = """
listen = "192.0.2.7:4433"

[store]
quota = "10GB"
reserve = 1024
high_watermark = 0.9
low_watermark = 0.5
grace = "1d"
hot_bytes = "32MiB"

[net]
max_connections = 12
max_connections_per_host = 3
buffer_per_connection = "1MiB"
idle_timeout = "2min"
dial_timeout = 2.5
limit_up = "10MB/s"
limit_down = 250000
lan = false
peers = ["1111111111111111111111111111111111111111111111111111111111111111@192.0.2.1:4433"]

[quic]
engine = "aioquic"
datagram_size = 1452
"""


def test_every_setting() -> None:
    assert parse_config(EVERYTHING, FILE) == NodeConfig(
        listen="192.0.2.7:4433",
        store=StoreConfig(
            quota=10**10,
            reserve=1024,
            high_watermark=0.9,
            low_watermark=0.5,
            grace=86400.0,
            hot_bytes=32 * 2**20,
        ),
        net=NetConfig(
            engine=Engine.AIOQUIC,
            max_connections=12,
            max_connections_per_host=3,
            buffer_per_connection=2**20,
            datagram_size=1452,
            idle_timeout=120.0,
            dial_timeout=2.5,
            limit_up=1e7,
            limit_down=250_000.0,
            lan=False,
            peers=("11" * 32 + "@192.0.2.1:4433",),
        ),
    )


def test_every_field_has_a_setting() -> None:
    sections = {"node": NodeConfig, "store": StoreConfig, "net": NetConfig}
    wanted = {(name, field.name) for name, kind in sections.items() for field in fields(kind)}
    settable = {(setting.section, setting.field) for setting in SETTINGS.values()}
    from_elsewhere = {("node", "store"), ("node", "net"), ("node", "token"), ("node", "edge_credentials")}
    assert settable == wanted - from_elsewhere


def test_no_file_and_an_empty_file_are_the_defaults(tmp_path: Path) -> None:
    assert load_config(tmp_path / "missing.toml") == NodeConfig() == parse_config("", FILE)


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("lisen = ''", "unknown setting 'lisen'", "'listen'"),
        ("[store]\nqota = 1", "unknown setting 'store.qota'", "'store.quota'"),
        ("[stor]\nquota = 1", "unknown section [stor]", "'store"),
        ("quota = 1", "unknown setting 'quota'", "'store.quota'"),
        ("[net]\nengine = 'qh3'", "unknown setting 'net.engine'", "'quic.engine'"),
        ("[store]\nquota = '10 parsecs'", "store.quota: '10 parsecs' is not a size", "10GiB"),
        ("[store]\nquota = -1", "store.quota: -1 is not a size", ""),
        ("[store]\nquota = true", "store.quota: True is not a size", ""),
        ("[store]\ngrace = 'a while'", "store.grace: 'a while' is not a duration", "12h"),
        ("[store]\ngrace = inf", "store.grace: inf is not a duration", ""),
        ("[store]\nhigh_watermark = 2", "store.high_watermark: 2 is not a share", ""),
        ("[store]\nhigh_watermark = 0.3", "store.low_watermark (0.85) must be below", ""),
        ("[net]\nmax_connections = 0", "net.max_connections: 0 would let nobody in", ""),
        ("[net]\nlan = 1", "net.lan: 1 is neither true nor false", ""),
        ("[net]\npeers = 'x'", "net.peers: 'x' is not a list of peers", "NODEID@ADDR:PORT"),
        ("[net]\npeers = [7]", "net.peers: [7] is not a list of peers", "NODEID@ADDR:PORT"),
        ("[net]\npeers = ['x@192.0.2.1:1']", "net.peers: 'x@192.0.2.1:1' is not a peer", "forge status"),
        ("[quic]\nengine = 'quiche'", "quic.engine: 'quiche' is no QUIC engine", "aioquic"),
        ("[quic]\ndatagram_size = 99", "quic.datagram_size: 99 is no datagram size", ""),
        ("listen = 'here'", "listen: 'here' is not an address", "4433"),
        ("listen = 12", "listen: 12 is not an address", "4433"),
        ("[listen]\nx = 1", "listen: {'x': 1} is not an address", ""),
        ("store = 7", "unknown setting 'store'", ""),
        ("what is this", "is not TOML", ""),
    ],
)
def test_what_is_wrong_is_named(text: str, says: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_config(text, FILE)
    assert str(FILE) in caught.value.message
    assert says in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("written", "read"),
    [(":4433", "[::]:4433"), ("[::1]:0", "[::1]:0"), ("127.0.0.1:65535", "127.0.0.1:65535")],
)
def test_addresses(written: str, read: str) -> None:
    assert parse_config(f"listen = '{written}'", FILE).listen == read


@pytest.mark.parametrize("written", ["127.0.0.1", "::1:4433", "127.0.0.1:65536", "127.0.0.1:", "127.0.0.1:٣"])
def test_not_addresses(written: str) -> None:
    with pytest.raises(UsageError, match="is not an address to listen on"):
        parse_config(f"listen = '{written}'", FILE)


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="Is a directory"):
        load_config(tmp_path)
    binary = tmp_path / "config.toml"
    binary.write_bytes(b"listen = '\xff'")
    with pytest.raises(UsageError, match="not UTF-8"):
        load_config(binary)


def test_peers_of_a_command_are_checked_before_it_starts(home: Path) -> None:
    result = forge(home, "up", "--peer", "build.example:4433", "--no-lan")
    assert result.returncode == 2
    assert "'build.example:4433' is not a peer" in result.stderr
    assert not home.exists()


def test_the_command_says_which_file(home: Path) -> None:
    home.mkdir()
    (home / "config.toml").write_text("[store]\nqouta = '1GB'\n")
    result = forge(home, "status")
    assert result.returncode == 2
    assert result.stderr == (
        f"forge: error: {home}/config.toml: unknown setting 'store.qouta'\nforge: hint: did you mean 'store.quota'?\n"
    )
