"""`config.toml` in the node's folder: where settings come from. Strict, so that a typing error is never silence.

The table below is the whole vocabulary; the defaults are those of `forge_p2p.config`. A size is a number of bytes or
text like "10GB", a duration a number of seconds or text like "1d", a rate a number of bytes a second or text like
"10MB/s".
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from forge_p2p.cli.units import parse_duration, parse_rate, parse_size
from forge_p2p.config import Engine, NetConfig, NodeConfig, StoreConfig
from forge_p2p.errors import DiskError, UsageError

Read = Callable[[Any], Any]
"""Turns a TOML value into a setting's. Raises `UsageError` saying what was expected."""


def load_config(file: Path) -> NodeConfig:
    """The settings in `file`; the defaults when there is no such file. Raises `UsageError` or `DiskError` naming it."""
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        return NodeConfig()
    except NotADirectoryError:
        return NodeConfig()
    except OSError as error:
        raise DiskError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text (byte {error.start})") from error
    return parse_config(text, file)


def parse_config(text: str, file: Path) -> NodeConfig:
    """The settings that `text` (TOML) makes. `file` is for messages. Raises `UsageError`."""
    import tomllib

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file} is not TOML: {error}") from error
    config, problems = examine(document)
    for problem in problems:
        raise UsageError(f"{file}: {problem.message}", hint=problem.hint)
    return config


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with the setting at `key`, the way to it with dots; the message names it, too."""

    key: str
    message: str
    hint: str = ""


def examine(document: dict[str, Any]) -> tuple[NodeConfig, list[Problem]]:
    """The settings that a TOML document makes, and all that is wrong with it; what is wrong counts as not set."""
    values: dict[str, dict[str, Any]] = {"node": {}, "store": {}, "net": {}}
    problems: list[Problem] = []
    for key, value in _flat(document, problems):
        setting = SETTINGS.get(key)
        if setting is None:
            problems.append(Problem(key, f"unknown setting {key!r}", nearest(key)))
            continue
        try:
            values[setting.section][setting.field] = setting.read(value)
        except UsageError as error:
            problems.append(Problem(key, f"{key}: {error.message}", error.hint))
    store = replace(StoreConfig(), **values["store"])
    if store.low_watermark >= store.high_watermark:
        message = (
            f"store.low_watermark ({store.low_watermark}) must be below store.high_watermark ({store.high_watermark})"
        )
        problems.append(Problem("store.low_watermark", message))
    return NodeConfig(store=store, net=replace(NetConfig(), **values["net"]), **values["node"]), problems


def _flat(table: dict[str, Any], problems: list[Problem], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        key = prefix + name
        if not isinstance(value, dict) or key in SETTINGS:
            yield key, value
        elif any(known.startswith(f"{key}.") for known in SETTINGS):
            yield from _flat(value, problems, f"{key}.")
        else:
            problems.append(Problem(key, f"unknown section [{key}]", nearest(key)))


def nearest(key: str, known: Iterable[str] = ()) -> str:
    """A hint at the setting that was meant; `known` are those there are, a settings file's by default."""
    from difflib import get_close_matches

    names = list(known) or list(SETTINGS)
    sections = {name.partition(".")[0] for name in names if "." in name}
    found = get_close_matches(key, [*names, *sections], n=1, cutoff=0.5)
    last = key.rpartition(".")[2]
    by_name = [name for name in names if name.rpartition(".")[2] == last]
    if by_name or found:
        return f"did you mean {(by_name or found)[0]!r}?"
    return "known settings: " + ", ".join(names)


def read_size(value: Any) -> int:
    """Bytes."""
    return parse_size(value) if isinstance(value, str) else read_count(value, 'a size, like 4096 or "10GB"')


def read_duration(value: Any) -> float:
    """Seconds."""
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise UsageError(f'{value!r} is not a duration, like 30 or "1d"')
    return float(value)


def read_rate(value: Any) -> float:
    """Bytes a second."""
    return parse_rate(value) if isinstance(value, str) else float(read_count(value, 'a rate, like 1000000 or "1MB/s"'))


def read_count(value: Any, what: str = "a whole number, 0 or more") -> int:
    """A whole number, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UsageError(f"{value!r} is not {what}")
    return value


def read_positive(value: Any) -> int:
    """A whole number from 1 on."""
    if read_count(value) == 0:
        raise UsageError("0 would let nobody in; it must be at least 1")
    return int(value)


def read_flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise UsageError(f"{value!r} is neither true nor false")
    return value


def _peers(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise UsageError(f"{value!r} is not a list of peers", hint='write ["NODEID@ADDR:PORT"]')
    return read_peers(value)


def read_peers(texts: Sequence[str]) -> tuple[str, ...]:
    """Static peers, each checked for its form: "NODEID@192.0.2.1:4433". Raises `UsageError`."""
    if texts:
        from forge_p2p.node.addresses import parse_peer

        for text in texts:
            parse_peer(text)
    return tuple(texts)


def read_fraction(value: Any) -> float:
    """Above 0 and at most 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise UsageError(f"{value!r} is not a share of the quota, above 0 and at most 1")
    return float(value)


def _datagram(value: Any) -> int:
    size = read_count(value)
    if size and not 1200 <= size <= 8952:
        raise UsageError(f"{size} is no datagram size: 0 (discover it) or 1200 to 8952 bytes")
    return size


def read_word(value: Any) -> str:
    """A short text."""
    if not isinstance(value, str) or not value.isprintable() or len(value) > 64:
        raise UsageError(f"{value!r} is not a word of at most 64 characters")
    return value


def _engine(value: Any) -> Engine:
    try:
        return Engine(value)
    except ValueError:
        raise UsageError(f"{value!r} is no QUIC engine", hint='"qh3" or "aioquic"') from None


def read_address(value: Any) -> str:
    """An address to listen on, checked for its form: "192.0.2.1:4433", "[::]:4433", ":4433". Raises `UsageError`."""
    host, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535 or (":" in host and not bracketed):
        raise UsageError(f"{value!r} is not an address to listen on", hint='write "192.0.2.1:4433" or "[::]:4433"')
    return str(value) if host else f"[::]:{port}"


@dataclass(frozen=True, slots=True)
class Setting:
    """Which field of which dataclass a key sets."""

    section: str
    field: str
    read: Read


SETTINGS = {
    "listen": Setting("node", "listen", read_address),
    "store.quota": Setting("store", "quota", read_size),
    "store.reserve": Setting("store", "reserve", read_size),
    "store.high_watermark": Setting("store", "high_watermark", read_fraction),
    "store.low_watermark": Setting("store", "low_watermark", read_fraction),
    "store.grace": Setting("store", "grace", read_duration),
    "store.hot_bytes": Setting("store", "hot_bytes", read_size),
    "net.max_connections": Setting("net", "max_connections", read_positive),
    "net.max_connections_per_host": Setting("net", "max_connections_per_host", read_positive),
    "net.buffer_per_connection": Setting("net", "buffer_per_connection", read_size),
    "net.idle_timeout": Setting("net", "idle_timeout", read_duration),
    "net.dial_timeout": Setting("net", "dial_timeout", read_duration),
    "net.stall_timeout": Setting("net", "stall_timeout", read_duration),
    "net.reconnect_timeout": Setting("net", "reconnect_timeout", read_duration),
    "net.limit_up": Setting("net", "limit_up", read_rate),
    "net.limit_down": Setting("net", "limit_down", read_rate),
    "net.lan": Setting("net", "lan", read_flag),
    "net.peers": Setting("net", "peers", _peers),
    "net.site": Setting("net", "site", read_word),
    "quic.engine": Setting("net", "engine", _engine),
    "quic.datagram_size": Setting("net", "datagram_size", _datagram),
}
