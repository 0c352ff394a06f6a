"""git's own tests of remote helpers, run against `git-remote-forge`: `python -m simulations.versus.git.t5801 SOURCE`.

SOURCE is a source tree of git in which `make` has run (`apt-get source git`); none of it is part of Forge, and it is
only read. The test script has a helper of its own, `git-remote-testgit`, for repositories in folders. In its place
comes one that publishes the folder under a name, has `git-remote-forge` do what git asks for, and brings what was
pushed back to the folder. Prints each test, and ends with 1 if one fails that is not expected to (`EXPECTED`).
"""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from simulations.versus.report import ROOT

MODULE: Final = "simulations.versus.git.t5801"
SCRIPT: Final = "t5801-remote-helpers.sh"

_STREAMS: Final = "asks for git's complaint about a helper that imports streams without refspecs"
_PRIVATE: Final = "asks for private refs, which helpers keep that import streams"
_SWITCH: Final = "a switch of that helper, which makes it fail"

EXPECTED: Final = {
    "cloning without refspec": _STREAMS,
    "pulling without refspecs": _STREAMS,
    "pushing without refspecs": "expects that no push gets through; ours does",
    "pulling without marks": "the folder has what the push before brought, which was to fail",
    "push all with existing object": "the branch main is behind for the same reason, and refused: fetch first",
    "push signed tag": "expects that an export loses the signature; the tag is pushed as it is",
    "push update refs": _PRIVATE,
    "push update refs disabled by no-private-update": _PRIVATE,
    "push update refs failure": _PRIVATE,
    "proper failure checks for fetching": _SWITCH,
}
"""Tests that fail, and why that is right."""

NAMES: Final = re.compile(r"^(ok|not ok) (\d+) - (.*?)( # .*)?$", re.MULTILINE)


def helper(words: list[str]) -> int:
    """What `git-remote-testgit ALIAS FOLDER` is here."""
    folder = os.path.abspath(words[1])
    outside = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    name = f"t{hashlib.sha256(folder.encode()).hexdigest()[:16]}"
    run = [sys.executable, "-P", "-m"]
    published = [*run, "forge_p2p.cli.main", "git", "publish", folder, name]
    subprocess.run(published, env=outside, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=True)
    done = subprocess.run([*run, "forge_p2p.cli.git_remote", words[0], f"forge://{name}"], check=False)
    fetch = [
        "git",
        "-c",
        "protocol.forge.allow=always",
        "-C",
        folder,
        "fetch",
        "--quiet",
        "--update-head-ok",
        "--prune",
    ]
    subprocess.run([*fetch, f"forge://{name}", "+refs/*:refs/*"], env=outside, stdin=subprocess.DEVNULL, check=False)
    return done.returncode


def shadow(source: Path, folder: Path, programs: Path) -> Path:
    """A tree of links to git's source, but for the helper of the test; its `t`."""
    tests = folder / "git" / "t"
    (tests / "t5801").mkdir(parents=True)
    for here, there in ((source, tests.parent), (source / "t", tests), (source / "t" / "t5801", tests / "t5801")):
        for each in here.iterdir():
            if each.name not in ("t", "t5801", "git-remote-testgit") and not each.name.startswith("trash"):
                (there / each.name).symlink_to(each)
    programs.mkdir()
    _program(tests / "t5801" / "git-remote-testgit", f'PYTHONPATH="{ROOT}" exec {sys.executable} -m {MODULE} --helper')
    _program(programs / "git-remote-forge", f"exec {sys.executable} -P -m forge_p2p.cli.git_remote")
    return tests


def _program(path: Path, command: str) -> None:
    path.write_text(f'#!/bin/sh\n{command} "$@"\n')
    path.chmod(0o755)


def main(source: Path) -> int:
    """Runs the script with a node up; 1 if a test fails that should not."""
    with TemporaryDirectory(prefix="forge-t5801-") as temporary:
        folder = Path(temporary)
        tests = shadow(source.resolve(), folder, folder / "bin")
        environment = {
            **os.environ,
            "FORGE_HOME": str(folder / "home"),
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }
        forge = [sys.executable, "-m", "forge_p2p.cli.main"]
        for words in (["network", "create", "t5801"], ["up", "--detach"]):
            subprocess.run([*forge, *words], env=environment, check=True, stdout=subprocess.DEVNULL)
        try:
            words = ["sh", f"./{SCRIPT}", "--root=" + str(folder), "-v"]
            with (folder / "said").open("wb") as said:
                subprocess.run(words, cwd=tests, env=environment, stdout=said, stderr=said, check=False)
        finally:
            subprocess.run([*forge, "down"], env=environment, check=False, stdout=subprocess.DEVNULL)
        output = (folder / "said").read_text(errors="replace")
    if "--verbose" in sys.argv:
        print(output)
    return told(output)


def told(output: str) -> int:
    """Prints what came of each test; 1 if one failed that should not, or none ran."""
    results = NAMES.findall(output)
    wrong = 0
    for result, number, name, remark in results:
        why = EXPECTED.get(name, "")
        failed = result == "not ok"
        state = f"does not apply ({why})" if why else "FAILS"
        if not failed:
            state = "passes"
        elif "TODO" in remark:
            state = "fails, as with git's own helper"
        wrong += state == "FAILS"
        print(f"{number:>3} {name}: {state}")
    return 1 if wrong or not results else 0


if __name__ == "__main__":
    sys.exit(helper(sys.argv[2:]) if sys.argv[1] == "--helper" else main(Path(sys.argv[1])))
