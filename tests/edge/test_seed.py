"""A seed from one file: checked, started, kept running, ended; and what is deployed with it."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from forge_edge.seeds.file import BUCKET, FOLLOW, GATEWAY, NETWORK, read_file
from forge_edge.seeds.lines import Lines

from tests.cli.harness import COMMAND, ROOT, forge
from tests.edge.conftest import directory, said
from tests.edge.harness import Running, edge_environment, forge_edge
from tests.node.harness import node
from tests.node.members_up import homes, until

DEPLOY = ROOT / "edge" / "deploy"

FAULTY = """\
home = "relative"
listn = "x"
[store]
quota = "5 bananas"
low_watermark = 0.99

[gateway]
public = ["team", "/x"]
rate = 0
tls_key = "/etc/key.pem"
[[network]]
label = "a"
[[network]]
token_file = "/nowhere/token"
secret = 1
[[follow]]
name = "nope"
mirror = true
keep = 0
[[follow]]
name = "team/site"
keep = "all"
"""


def test_every_fault_has_its_line(tmp_path: Path) -> None:
    file = tmp_path / "seed.toml"
    file.write_text(FAULTY)
    done = forge(tmp_path, "config", "check", str(file))
    assert done.returncode == 2
    found = [line.removeprefix(f"{file}:").partition(": ") for line in done.stdout.splitlines()]
    assert [(int(line), text.partition(":")[0].split(" ")[0]) for line, _, text in found] == [
        (1, "home"),
        (2, "unknown"),
        (4, "store.quota"),
        (5, "store.low_watermark"),
        (7, "tls_certificate"),
        (8, "gateway.public"),
        (9, "gateway.rate"),
        (11, "network[0]"),
        (15, "unknown"),
        (17, "follow[0].name"),
        (18, "there"),
        (19, "follow[0].keep"),
        (22, "follow[1].keep"),
    ]
    started = forge(tmp_path, "seed", "run", str(file))
    assert started.returncode == 2
    assert f"{file}:1: home" in started.stderr


@pytest.mark.parametrize(("text", "line"), [("a = [\n", 0), ("a = 1\nb = = 2\n", 2), ("\n\n[x\n", 3), ("", 0)])
def test_what_is_not_toml(text: str, line: int) -> None:
    _, faults = read_file(text)
    assert [each.line for each in faults] == [line]


def test_lines() -> None:
    lines = Lines('a = 1\n[t]\n"b" = 2\n[[u]]\nc.d = 3\n[[u]]\n  c = 4 # x\n')
    assert [lines.of(key) for key in ("a", "t", "t.b", "u[0].c.d", "u[1]", "u[1].c", "u[1].x", "z")] == [
        *(1, 2, 3, 5, 6, 7, 6, 0)
    ]


def test_secrets_that_others_can_read_are_faults(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("x")
    token.chmod(0o644)
    file = tmp_path / "seed.toml"
    file.write_text(f'home = "{tmp_path}/home"\n[[network]]\ntoken_file = "{token}"\n')
    assert f"{file}:3: {token} can be read by others" in forge(tmp_path, "config", "check", str(file)).stdout
    token.chmod(0o600)
    assert forge(tmp_path, "config", "check", str(file)).returncode == 0
    listed = json.loads(forge(tmp_path, "config", "check", str(file), "--json").stdout)
    assert listed == {"file": str(file), "faults": []}


def test_the_example_is_right_and_whole() -> None:
    text = (DEPLOY / "seed.toml").read_text()
    seed, faults = read_file(text)
    assert faults == []
    assert seed.gateway is not None
    assert seed.bucket is not None
    assert [(each.mirror, each.keep) for each in seed.follow] == [(True, 14), (True, 0), (False, 0)]
    (line,) = re.findall(r"^# (upkeep = true) ", text, re.MULTILINE)
    seed, faults = read_file(text.replace(f"# {line}", line))
    assert (faults, [each.upkeep for each in seed.follow]) == ([], [False, False, True])
    page = (ROOT / "docs" / "operations.md").read_text()
    for name in (*GATEWAY, *NETWORK, *FOLLOW, *BUCKET):
        assert f"`{name}`" in page, f"docs/operations.md says nothing of {name}"


@contextmanager
def seed(file: Path, folder: Path) -> Iterator[Running]:
    """A seed that is up."""
    log, errors = folder / "out.log", folder / "errors.log"
    with log.open("w") as out, errors.open("w") as err:
        process = subprocess.Popen(
            [*COMMAND, "seed", "run", str(file)], env=edge_environment(folder), stdout=out, stderr=err, text=True
        )
    try:
        until(lambda: '{"url"' in log.read_text(), "the gateway is up")
        found = re.search(r'"url":"http://([^"]+):(\d+)"', log.read_text())
        assert found is not None
        yield Running(process, found[1], int(found[2]), log, errors)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        process.wait(timeout=60)


def children(running: Running) -> dict[str, psutil.Process]:
    """The seed's processes by what they are."""
    found = {}
    for each in psutil.Process(running.process.pid).children():
        with suppress(psutil.ZombieProcess, psutil.NoSuchProcess):
            found["node" if "node" in each.cmdline() else "gateway"] = each
    return found


def test_a_seeds_life(tmp_path: Path) -> None:
    (origin,) = homes(tmp_path, "origin")
    files = directory(tmp_path / "files")
    home = tmp_path / "seed"
    token = tmp_path / "team.token"
    with node(origin, "up"):
        token.touch(0o600)
        token.write_text(said(origin, "network", "invite", "--role", "seed") + "\n")
        said(origin, "publish", "site", str(files))
        file = tmp_path / "seed.toml"
        file.write_text(
            f'home = "{home}"\nlisten = "127.0.0.1:0"\n[net]\nlan = false\n[store]\nreserve = 0\n'
            f'[[network]]\ntoken_file = "{token}"\n[[follow]]\nname = "team/site"\nmirror = true\n'
            f'[bucket]\nurl = "file://{tmp_path}/bucket"\nevery = 1\n'
            '[gateway]\nlisten = "127.0.0.1:0"\npublic = ["team/site"]\n'
        )
        with seed(file, tmp_path) as running:
            until(lambda: running.ask("/refs/team/site/small.txt").status == 200, "the name is served")
            until(lambda: "/site/1" in forge(home, "edge", "status").stdout, "and mirrored")
            first = children(running)
            first["node"].send_signal(signal.SIGKILL)
            until(lambda: children(running).get("node", first["node"]) != first["node"], "the node is back")
            assert children(running)["gateway"].pid == first["gateway"].pid
            first["gateway"].send_signal(signal.SIGKILL)
            until(lambda: running.log.read_text().count('{"url"') == 2, "the gateway is back")
            assert token.read_text().strip() not in running.said()
            every = list(children(running).values())
            assert not any(token.read_text().strip() in word for each in every for word in each.cmdline())
            running.process.terminate()
            assert running.process.wait(timeout=60) == 0
            assert not any(each.is_running() for each in every)
        with seed(file, tmp_path) as running:
            orphans = list(children(running).values())
            running.process.kill()
            until(lambda: not any(each.is_running() and each.status() != "zombie" for each in orphans), "none is left")


def test_units_containers_and_nginx_name_what_there_is() -> None:
    for unit in (DEPLOY / "systemd").glob("*.service"):
        text = unit.read_text()
        for line in ("NoNewPrivileges=yes", "ProtectSystem=strict", "PrivateTmp=yes", "RestrictAddressFamilies="):
            assert line in text, f"{unit.name} lacks {line}"
        (command,) = re.findall(r"^ExecStart=(\S+) (.*)$", text, re.MULTILINE)
        assert Path(command[0]).name in {"forge", "forge-edge"}
    container = (DEPLOY / "Containerfile").read_text()
    assert "USER forge" in container
    assert "seed" in container


def test_nginx_takes_its_example(tmp_path: Path) -> None:
    text = (DEPLOY / "nginx.conf").read_text()
    (tmp_path / "cache").mkdir()
    files = f"-keyout {tmp_path}/key.pem -out {tmp_path}/cert.pem"
    words = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=forge.example {files}"
    subprocess.run(["openssl", *words.split()], check=True, capture_output=True)
    text = text.replace("/etc/forge/tls/", f"{tmp_path}/").replace("/var/cache/nginx", str(tmp_path / "cache"))
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\n{text}\n}}\n")
    done = subprocess.run(
        ["nginx", "-t", "-e", "stderr", "-c", str(tmp_path / "nginx.conf")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_metric_of_the_dashboard_is_exported(tmp_path: Path) -> None:
    from tests.edge.harness import gateway

    dashboard = (DEPLOY / "grafana.json").read_text()
    json.loads(dashboard)
    named = set(re.findall(r"\bforge_\w+", dashboard))
    assert len(named) > 10
    home = tmp_path / "home"
    said(home, "network", "create", "team")
    with gateway(home, tmp_path / "gateway") as running:
        running.ask("/healthz", token=forge_edge(home, "token").splitlines()[-1])
        exported = set(re.findall(r"^(forge_\w+)", running.ask("/metrics").body.decode(), re.MULTILINE))
    assert named <= exported
