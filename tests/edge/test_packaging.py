"""What is installed is what is here: both packages, from the wheel that pip builds."""

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.cli.harness import ROOT


def test_the_wheel_has_both_packages(tmp_path: Path) -> None:
    words = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    modules = {name for name in names if name.endswith(".py")}
    for package, folder in {"forge_p2p": ROOT, "forge_edge": ROOT / "edge"}.items():
        here = {str(path.relative_to(folder)) for path in (folder / package).rglob("*.py")}
        assert here == {name for name in modules if name.startswith(package)}
    assert {name.split("/")[0] for name in modules} == {"forge_p2p", "forge_edge"}
    (entries,) = (name for name in names if name.endswith("entry_points.txt"))
    commands = zipfile.ZipFile(wheel).read(entries).decode()
    assert "forge = forge_p2p.cli.main:main" in commands
    assert "forge-edge = forge_edge.main:main" in commands
