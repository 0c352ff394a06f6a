"""The programs that a lab drives."""

import os
import shutil
import subprocess
from collections.abc import Iterable

PACKAGES = {
    "ip": "iproute2",
    "tc": "iproute2",
    "nsenter": "util-linux",
    "ping": "iputils-ping",
    "curl": "curl",
    "nginx": "nginx-light",
    "git": "git",
    "fcgiwrap": "fcgiwrap",
}


class LabError(Exception):
    """The lab could not be set up or driven: says what is missing and how it is installed, or what a program said."""


def program(name: str) -> str:
    """The full path of `name`. Raises `LabError` with the command that installs it."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise LabError(f"{name} is not installed: apt-get install {PACKAGES[name]}")
    return found


def require_root() -> None:
    """Raises `LabError` unless this process may make network namespaces."""
    if os.geteuid() != 0:
        raise LabError("network namespaces need root: run it as root, with CAP_SYS_ADMIN and CAP_NET_ADMIN")


def ip(*words: str) -> str:
    """Runs `ip` and returns what it printed. Raises `LabError`."""
    return _output([program("ip"), *words])


def ip_batch(lines: Iterable[str], namespace: str = "") -> None:
    """Runs many `ip` commands in one process, in `namespace` when one is given."""
    _output([program("ip"), *(["-n", namespace] if namespace else []), "-batch", "-"], "\n".join(lines))


def tc(namespace: str, *words: str) -> str:
    """Runs `tc` in a namespace and returns what it printed. Raises `LabError`."""
    return _output([program("tc"), "-n", namespace, *words])


def _output(words: list[str], standard_input: str | None = None) -> str:
    done = subprocess.run(words, input=standard_input, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{' '.join(words)}: {done.stderr.strip()}\n{standard_input or ''}".rstrip())
    return done.stdout
