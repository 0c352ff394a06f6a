"""Which bucket a node uses, and where the secrets for it come from.

The address is a record in the node's folder, without secrets. These are in the environment, by the names that other
tools know them by, or in the file `edge.credentials` of the node's folder, which only its owner may read:

    AWS_ACCESS_KEY_ID = "…"
    AWS_SECRET_ACCESS_KEY = "…"
    FORGE_CDN_QUERY = "…"

What the file says goes before what the environment says.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import DecodeError, Struct, ValidationError, json

from forge_p2p.config import EdgeConfig
from forge_p2p.content.link import hash_bytes
from forge_p2p.errors import DiskError, StoreError, UsageError
from forge_p2p.node.home import Home, unwritable
from forge_p2p.node.records import write_record

CDN_QUERY: Final = "FORGE_CDN_QUERY"

PREFIXES: Final = ("AWS_", "GOOGLE_", "AZURE_", CDN_QUERY)
"""Beginnings of the names of what may open a bucket."""


class EdgeRecord(Struct, frozen=True, forbid_unknown_fields=True):
    """What `forge edge set` was told, and the id that the bucket has (64 hex digits)."""

    url: str
    id: str
    endpoint: str = ""
    region: str = ""
    cdn: str = ""


def edge_capability(record: EdgeRecord) -> str:
    """What nodes say to each other if they may read the same bucket: those who do share it tell by it."""
    return f"edge.{hash_bytes(b'forge edge v1' + record.id.encode()).hex()[:16]}"


def record_file(home: Home) -> Path:
    return home.path / "edge.json"


def credentials_file(home: Home) -> Path:
    return home.path / "edge.credentials"


def load_record(home: Home) -> EdgeRecord | None:
    """The node's bucket, if it has one. Raises `StoreError`, `DiskError`."""
    try:
        return json.decode(record_file(home).read_bytes(), type=EdgeRecord)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DiskError(f"cannot read {record_file(home)}: {error.strerror}") from error
    except (DecodeError, ValidationError) as error:
        raise StoreError(
            f"{record_file(home)} is damaged: {error}", hint="forge edge set URL writes it anew"
        ) from error


def save_record(home: Home, record: EdgeRecord) -> None:
    """Raises `DiskError`, `DiskFull`."""
    home.create()
    try:
        write_record(record_file(home), json.encode(record))
    except OSError as error:
        raise unwritable(str(record_file(home)), error) from error


def config_of(home: Home, record: EdgeRecord, environment: Mapping[str, str]) -> EdgeConfig:
    """What opens the bucket. Raises as `read_credentials`."""
    secrets = {**environment, **read_credentials(credentials_file(home))}
    query = secrets.pop(CDN_QUERY, "")
    return EdgeConfig(record.url, record.endpoint, record.region, record.cdn, secrets, query)


def read_credentials(file: Path) -> dict[str, str]:
    """What the file says; nothing if there is none. Its content is in no error. Raises `StoreError` if others may read
    it, `UsageError`, `DiskError`."""
    import tomllib

    try:
        mode = stat.S_IMODE(os.stat(file).st_mode)
        text = file.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise DiskError(f"cannot read {file}: {getattr(error, 'strerror', 'it is not UTF-8 text')}") from None
    if mode & 0o077:
        raise StoreError(f"{file} is readable by others (mode {mode:o})", hint=f"chmod 600 {file}")
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise UsageError(f"{file} is not TOML", hint='its lines look like AWS_ACCESS_KEY_ID = "…"') from None
    wrong = [name for name, value in found.items() if not (isinstance(value, str) and name.startswith(PREFIXES))]
    if wrong:
        hint = f"names begin with {', '.join(PREFIXES)}; values are text in quotes"
        raise UsageError(f"{file}: {wrong[0]} is not known there", hint=hint)
    return found
