"""From a URL to a bucket."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from forge_p2p.bucket.base import Bucket
from forge_p2p.bucket.cdn import CdnBucket
from forge_p2p.bucket.counting import CountingBucket, Traffic
from forge_p2p.bucket.folder import FolderBucket
from forge_p2p.bucket.objects import ObjectBucket
from forge_p2p.bucket.retrying import RetryingBucket
from forge_p2p.config import EdgeConfig
from forge_p2p.errors import UsageError

SCHEMES: Final = ("s3", "gs", "az", "file", "memory")

CONNECT_TIMEOUT: Final = "10s"
READ_TIMEOUT: Final = "30s"
"""Without a byte."""
REQUEST_TIMEOUT: Final = "600s"
"""A bundle at 50 KB/s."""

CDN_TRIES: Final = 2
"""The bucket is there, too."""

_CLIENT: Final[Any] = {"connect_timeout": CONNECT_TIMEOUT, "read_timeout": READ_TIMEOUT, "timeout": REQUEST_TIMEOUT}
_NO_RETRIES: Final[Any] = {"max_retries": 0}

_memories: dict[str, Any] = {}
"""Buckets in memory, by name: as long-lived as the process."""


@dataclass(frozen=True, slots=True)
class Opened:
    """`origin` is the bucket; `reads` the same behind its CDN, if it has one. `traffic` counts what is asked of the
    bucket, `cdn_traffic` what of the CDN."""

    origin: Bucket
    reads: Bucket
    traffic: Traffic
    cdn_traffic: Traffic

    def close(self) -> None:
        self.reads.close()


def open_bucket(config: EdgeConfig) -> Opened:
    """The bucket that `config` names; nothing is asked of it yet. Raises `UsageError`."""
    counting = CountingBucket(_backend(config))
    origin = RetryingBucket(counting)
    if not config.cdn:
        return Opened(origin, origin, counting.traffic, Traffic())
    cdn = CountingBucket(_cdn(config))
    return Opened(origin, CdnBucket(origin, RetryingBucket(cdn, tries=CDN_TRIES)), counting.traffic, cdn.traffic)


def check_url(url: str) -> SplitResult:
    """The parts of a bucket's address. Raises `UsageError`, also for one with a password or a query in it: those would
    be seen in lists of processes and logs."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        names = ", ".join(f"{each}://" for each in SCHEMES)
        raise UsageError(f"{parts.scheme or 'nothing'} is no kind of bucket", hint=f"an address begins with {names}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            "an address of a bucket holds no credentials", hint="docs/edge.md says where they are looked for"
        )
    if parts.scheme == "file" and (parts.netloc or not parts.path.startswith("/")):
        raise UsageError(f"{url} names no folder of this machine", hint="write file:///mnt/nas/forge")
    if parts.scheme not in {"file", "memory"} and not parts.netloc:
        raise UsageError(f"{url} names no bucket", hint=f"write {parts.scheme}://BUCKET/PREFIX")
    return parts


def _backend(config: EdgeConfig) -> Bucket:
    parts = check_url(config.url)
    if parts.scheme == "file":
        return FolderBucket(Path(os.path.abspath(unquote(parts.path))))
    return ObjectBucket(_object_store(parts, config), config.url)


def _object_store(parts: SplitResult, config: EdgeConfig) -> Any:
    from obstore.store import AzureStore, GCSStore, MemoryStore, S3Store

    if parts.scheme == "memory":
        return _memories.setdefault(config.url, MemoryStore())
    prefix = parts.path.strip("/") or None
    client = {**_CLIENT, "allow_http": config.endpoint.startswith("http://")}
    common: dict[str, Any] = {"prefix": prefix, "client_options": client, "retry_config": _NO_RETRIES}
    if parts.scheme == "s3":
        return S3Store(parts.netloc, config=_s3(config), **common)
    if parts.scheme == "gs":
        return GCSStore(parts.netloc, config=_named(config.credentials, "GOOGLE_"), **common)
    azure: Any = {
        **_named(config.credentials, "AZURE_STORAGE_", "AZURE_"),
        **_given(endpoint=config.endpoint),
    }
    return AzureStore(parts.netloc, config=azure, **common)


def _s3(config: EdgeConfig) -> Any:
    found = _named(config.credentials, "AWS_")
    found = {key: value for key, value in found.items() if key in _S3_KEYS}
    region = config.region or found.get("region") or found.get("default_region") or ("auto" if config.endpoint else "")
    return {**found, **_given(endpoint=config.endpoint, region=region)}


_S3_KEYS: Final = frozenset(
    {"access_key_id", "secret_access_key", "session_token", "region", "default_region", "role_arn"}
    | {"web_identity_token_file", "container_credentials_relative_uri", "container_credentials_full_uri"}
    | {"container_authorization_token_file", "metadata_endpoint", "role_session_name", "sts_endpoint"}
)


def _given(**settings: str) -> dict[str, str]:
    return {key: value for key, value in settings.items() if value}


def _named(credentials: Mapping[str, str], *prefixes: str) -> Any:
    """Settings of one provider, by the library's names: those of the environment without their beginning."""
    found = {}
    for name, value in credentials.items():
        prefix = next((each for each in prefixes if name.startswith(each)), None)
        if prefix is not None:
            found[name.removeprefix(prefix).lower()] = value
    return found


def _cdn(config: EdgeConfig) -> Bucket:
    from obstore.store import HTTPStore

    parts = urlsplit(config.cdn)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.username or parts.query:
        hint = "write https://cdn.example.com/PREFIX; docs/edge.md says where the query of a signed one goes"
        raise UsageError(f"{config.cdn} is no address of a CDN", hint=hint)
    address = config.cdn.rstrip("/") + (f"?{config.cdn_query.lstrip('?')}" if config.cdn_query else "")
    client: Any = {**_CLIENT, "allow_http": parts.scheme == "http"}
    return ObjectBucket(HTTPStore.from_url(address, client_options=client, retry_config=_NO_RETRIES), config.cdn)
