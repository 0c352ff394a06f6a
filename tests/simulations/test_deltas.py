"""The harnesses of `docs/deltas.md` run, on little."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.cli.harness import ROOT
from tests.node.harness import noise


def run(*arguments: str) -> dict[str, Any]:
    """What a simulation prints. It must have gone well."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def test_reconciling() -> None:
    figures = run("simulations.reconcile", "--size", "5000", "--differing", "10")
    for case in ("whole", "prefixes"):
        assert figures[case]["exact"]
        assert figures[case]["bytes"]["both"] < 12_000
    assert figures["nodes"]["exact"]
    assert figures["nodes"]["bytes"] < 16_000


def test_summaries() -> None:
    figures = run("simulations.summaries", "--files", "16", "--size", "600000")
    assert figures["checks"]["likely"] < 5_200
    assert figures["fetch"]["together"]["sent_by"]["origin"] < figures["fetch"]["alone"]["sent_by"]["origin"] / 2
    assert figures["fetch"]["in_vain"]["sent_by"]["neighbour"] < 60_000


def test_updating(tmp_path: Path) -> None:
    content = noise(1, 1_000_000)
    (tmp_path / "old").write_bytes(content)
    (tmp_path / "new").write_bytes(content[:500_000] + b"inserted" + content[500_000:])
    figures = run("simulations.deltas", str(tmp_path / "old"), str(tmp_path / "new"))
    assert set(figures) == {"rsync", "open", "cold", "signed"}
    assert figures["open"]["bytes"] < 10_000
