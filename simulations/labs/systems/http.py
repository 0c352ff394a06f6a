"""The central server: one file by nginx, fetched by curl."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from simulations.labs.programs import Program
from simulations.labs.systems.base import Stage
from simulations.labs.tools import LabError, program
from simulations.labs.topology import Host

CONFIGURATION = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
worker_processes 2;
user root;
events {{}}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    client_body_temp_path {folder}/body;
    fastcgi_temp_path {folder}/fastcgi;
    proxy_temp_path {folder}/proxy;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    server {{
        listen 80;
        {location}
    }}
}}
"""


class Http:
    """nginx and curl."""

    name: str = "http"

    @contextmanager
    def open(self, stage: Stage) -> Iterator[Mapping[str, Program]]:
        start_nginx(stage.origin, f"location / {{ root {stage.content.parent}; }}")
        url = f"http://{stage.origin.address}/{stage.content.name}"
        curl = f"{program('curl')} --silent --show-error --fail --output copy {url}"
        yield {name: host.start(waiting(host, curl)) for name, host in stage.agents.items()}

    def copy(self, host: Host) -> Path:
        return host.folder / "copy"

    def restart(self, stage: Stage, host: Host) -> None:
        raise LabError("curl has no node to restart")


def waiting(host: Host, command: str) -> list[str]:
    """A shell that waits for a line, runs `command` in the host's folder, and says so when that went well."""
    return ["sh", "-c", f"cd {host.folder} && read go && {command} && echo done"]


def start_nginx(host: Host, location: str) -> Program:
    """nginx with one server, whose locations are `location`."""
    configuration = host.folder / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(folder=host.folder, location=location))
    return host.start([program("nginx"), "-c", configuration], log="nginx.log")
