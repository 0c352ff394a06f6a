"""The page of a directory, opened in a browser."""

import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from tests.edge.conftest import Edge, said
from tests.edge.harness import forge_edge

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
"""No sandbox: the tests may run as root. Nothing but the gateway is asked for anything."""


def chromium(folder: Path, *words: str) -> str:
    """What Chromium prints; with a profile of its own."""
    if shutil.which("chromium") is None:
        pytest.fail("chromium is missing: apt install chromium")
    done = subprocess.run(
        ["chromium", *FLAGS, f"--user-data-dir={folder}/profile", *words],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_of_a_directory(edge: Edge, tmp_path: Path) -> None:
    url = f"http://{edge.gateway.host}:{edge.gateway.port}/refs/team/site/"
    dom = chromium(tmp_path, "--dump-dom", f"--screenshot={tmp_path}/page.png", "--window-size=900,700", url)
    assert "<title>team/site@1</title>" in dom
    text = unescape(dom)
    for name in ("big.bin", "text.txt", "sub/", "empty/", '<b>"&.txt', "elsewhere → /etc/passwd", "3.0 MB"):
        assert name in text
    assert "<b>" not in dom
    assert "<script" not in dom
    assert (tmp_path / "page.png").stat().st_size > 5000


def test_published_scripts_do_not_run(edge: Edge, tmp_path: Path) -> None:
    script = "<script>document.getElementById('p').textContent='RAN'</script>"
    (edge.files / "bad.html").write_text(f"<p id=p>before</p>{script}")
    said(edge.home, "publish", "page", str(edge.files), "--network", "team")
    link = edge.gateway.ask("/refs/team/page/bad.html").headers["forge-link"]
    signed = forge_edge(edge.home, "sign", f"/links/{link}/bad.html")
    dom = chromium(tmp_path, "--dump-dom", f"http://{edge.gateway.host}:{edge.gateway.port}{signed}")
    assert "before" in dom
    assert ">RAN<" not in dom
