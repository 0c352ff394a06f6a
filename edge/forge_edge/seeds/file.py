"""A seed's file: node, gateway, networks, names and bucket in one TOML text. Strict: what is not known is an error.

The tables of a node's `config.toml` are the same here (`forge_p2p.cli.config`); `GATEWAY`, `NETWORK`, `FOLLOW` and
`BUCKET` are the rest of the vocabulary. All that is wrong is told at once, each with its line.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from forge_edge.seeds.lines import Lines, line_of_toml_error
from forge_edge.settings import GatewaySettings, Limits, Network
from forge_p2p.cli.config import (
    Problem,
    Read,
    examine,
    nearest,
    read_address,
    read_duration,
    read_flag,
    read_positive,
    read_size,
    read_word,
)
from forge_p2p.config import KEEP_MAX, NodeConfig
from forge_p2p.content.refname import fault_of
from forge_p2p.errors import DiskError, UsageError


@dataclass(frozen=True, slots=True)
class NetworkEntry:
    """A network to be in. `token_file`: a file, 0600, whose only line is an invite token."""

    token_file: str
    name: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class FollowEntry:
    """A name that is followed, "NETWORK/NAME": its newest content is kept here. `mirror`: and in the bucket. `keep`:
    how many of its newest versions stay, here and there; 0: as many as of any name. `upkeep`: it stands for a git
    repository, whose packs are made few here."""

    name: str
    mirror: bool = False
    keep: int = 0
    upkeep: bool = False


@dataclass(frozen=True, slots=True)
class BucketEntry:
    """Where names are mirrored to, and how often it is looked whether something is to be done, in seconds."""

    url: str
    every: float = 600.0
    endpoint: str = ""
    region: str = ""
    cdn: str = ""

    @property
    def options(self) -> dict[str, str]:
        """As `forge edge set` takes them."""
        return {"endpoint": self.endpoint, "region": self.region, "cdn": self.cdn}


@dataclass(frozen=True, slots=True)
class SeedFile:
    """`gateway` is `None` where the file has no such table."""

    home: Path
    node: NodeConfig
    gateway: GatewaySettings | None = None
    networks: tuple[NetworkEntry, ...] = ()
    follow: tuple[FollowEntry, ...] = ()
    bucket: BucketEntry | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and in which line; 0: the file as a whole."""

    line: int
    message: str
    hint: str


class BadFile(UsageError):
    """A seed's file with faults."""

    def __init__(self, path: Path, faults: list[Fault]) -> None:
        first = faults[0]
        more = f" (and {len(faults) - 1} more: forge config check {path})" if len(faults) > 1 else ""
        super().__init__(f"{path}:{first.line}: {first.message}{more}", hint=first.hint)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise UsageError(f"{value!r} is not a line of text")
    return value


def _path(value: Any) -> str:
    if not Path(_text(value)).is_absolute():
        raise UsageError(f"{value!r} is not an absolute path", hint="a service has no folder of its own")
    return str(value)


def _list(read: Read) -> Read:
    def read_all(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise UsageError(f"{value!r} is not a list")
        return tuple(read(each) for each in value)

    return read_all


def _network(value: Any) -> Network:
    try:
        return ip_network(_text(value), strict=False)
    except ValueError:
        raise UsageError(f"{value!r} is neither an address nor a network of them", hint='like "10.0.0.0/8"') from None


def _public(value: Any) -> str:
    network, slash, name = _text(value).partition("/")
    fault = fault_of(name.removesuffix("*").rstrip("/") or "x") if slash else ""
    if not network or fault:
        raise UsageError(f"{value!r} is neither NETWORK nor NETWORK/NAME{': ' + fault if fault else ''}")
    return str(value)


def _name(value: Any) -> str:
    network, slash, name = _text(value).partition("/")
    if not network or not slash or fault_of(name):
        raise UsageError(f"{value!r} is not NETWORK/NAME", hint='like "team/nightly"')
    return str(value)


def _versions(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= KEEP_MAX:
        raise UsageError(f"{value!r} is not a number of versions", hint=f"at least 1, at most {KEEP_MAX}")
    return value


def _many(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise UsageError(f"{value!r} is not a number above 0")
    return float(value)


GATEWAY: dict[str, tuple[str, Read]] = {
    "listen": ("", read_address),
    "tls_certificate": ("", _path),
    "tls_key": ("", _path),
    "public": ("", _list(_public)),
    "proxies": ("", _list(_network)),
    "scrapers": ("", _list(_network)),
    "answers": ("", read_size),
    "runs": ("", read_size),
    "ref_age": ("", read_duration),
    "access_log": ("", read_flag),
    "rate": ("limits", _many),
    "burst": ("limits", _many),
    "max_connections": ("limits", read_positive),
    "header_timeout": ("limits", read_duration),
    "idle_timeout": ("limits", read_duration),
    "stall_timeout": ("limits", read_duration),
    "drain": ("limits", read_duration),
    "header_bytes": ("limits", read_positive),
    "body_memory": ("limits", read_size),
    "upload_max": ("limits", read_size),
}
"""Field by field of `GatewaySettings`, or of its `limits`."""

NETWORK: dict[str, Read] = {"token_file": _path, "name": read_word, "label": read_word}
FOLLOW: dict[str, Read] = {"name": _name, "mirror": read_flag, "keep": _versions, "upkeep": read_flag}
BUCKET: dict[str, Read] = {"url": _text, "every": read_duration, "endpoint": _text, "region": _text, "cdn": _text}

_OWN = ("home", "gateway", "network", "follow", "bucket")


def load_file(path: Path) -> SeedFile:
    """The seed that a file describes. Raises `BadFile`, and as `read_text`."""
    seed, faults = read_file(read_text(path))
    if faults:
        raise BadFile(path, faults)
    return seed


def read_text(path: Path) -> str:
    """What is in a seed's file. Raises `DiskError`, `UsageError`."""
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise DiskError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text (byte {error.start})") from error


def read_file(text: str) -> tuple[SeedFile, list[Fault]]:
    """The seed that `text` describes, and all that is wrong with it, by line."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        fault = Fault(line_of_toml_error(str(error)), f"this is not TOML: {error}", "")
        return SeedFile(Path("/"), NodeConfig()), [fault]
    reader = _Reader()
    seed = reader.seed(document)
    lines = Lines(text)
    faults = [Fault(lines.of(each.key), each.message, each.hint) for each in reader.problems]
    return seed, sorted(faults, key=lambda each: each.line)


@dataclass(slots=True)
class _Reader:
    """Reads one document and gathers its problems."""

    problems: list[Problem] = field(default_factory=list)

    def seed(self, document: dict[str, Any]) -> SeedFile:
        own = {name: document.pop(name) for name in _OWN if name in document}
        node, problems = examine(document)
        self.problems += problems
        home = Path(self._value("home", own.get("home"), _path) or "/")
        if "home" not in own:
            self.problems.append(Problem("", "home is missing", 'home = "/var/lib/forge"'))
        gateway = self._gateway(home, node, own["gateway"]) if "gateway" in own else None
        networks = self._entries("network", own.get("network", []), NETWORK, ("token_file",))
        follow = self._entries("follow", own.get("follow", []), FOLLOW, ("name",))
        bucket = self._table("bucket", own["bucket"], BUCKET, ("url",)) if "bucket" in own else {}
        seed = SeedFile(
            home,
            node,
            gateway,
            tuple(NetworkEntry(**each) for each in networks if "token_file" in each),
            tuple(FollowEntry(**each) for each in follow if "name" in each),
            BucketEntry(**bucket) if "url" in bucket else None,
        )
        for number, each in enumerate(follow):
            if each.get("mirror") and "bucket" not in own:
                self.problems.append(Problem(f"follow[{number}].mirror", "there is no [bucket] to mirror to"))
        return seed

    def _gateway(self, home: Path, node: NodeConfig, table: Any) -> GatewaySettings:
        values = self._table("gateway", table, {name: read for name, (_, read) in GATEWAY.items()}, ())
        own = {name: value for name, value in values.items() if not GATEWAY[name][0]}
        limits = {name: value for name, value in values.items() if GATEWAY[name][0]}
        if ("tls_certificate" in own) != ("tls_key" in own):
            self.problems.append(Problem("gateway", "tls_certificate and tls_key need each other"))
        return GatewaySettings(home, store=node.store, limits=replace(Limits(), **limits), **own)

    def _entries(
        self, key: str, value: Any, known: Mapping[str, Read], needed: tuple[str, ...]
    ) -> list[dict[str, Any]]:
        if not isinstance(value, list):
            self.problems.append(Problem(key, f"{key} is a list of tables", f"write [[{key}]]"))
            return []
        return [self._table(f"{key}[{number}]", each, known, needed) for number, each in enumerate(value)]

    def _table(self, key: str, table: Any, known: Mapping[str, Read], needed: tuple[str, ...]) -> dict[str, Any]:
        if not isinstance(table, dict):
            self.problems.append(Problem(key, f"{key} is a table", f"write [{key}]"))
            return {}
        found = {}
        for name, value in table.items():
            if name not in known:
                self.problems.append(Problem(f"{key}.{name}", f"unknown setting {key}.{name}", nearest(name, known)))
                continue
            read = self._value(f"{key}.{name}", value, known[name])
            if read is not None:
                found[name] = read
        self.problems += [
            Problem(key, f"{key} has no {name}", f"{name} has to be there") for name in needed if name not in table
        ]
        return found

    def _value(self, key: str, value: Any, read: Read) -> Any:
        if value is None:
            return None
        try:
            return read(value)
        except UsageError as error:
            self.problems.append(Problem(key, f"{key}: {error.message}", error.hint))
            return None
