"""`.forgeignore` leaves out what git would leave out by a `.gitignore` of the same content."""

import os
import re
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forge_p2p.errors import UsageError
from forge_p2p.workspace.scan import scan
from tests.workspace.support import no_cache

NAMES = st.one_of(
    st.sampled_from(["a", "b", "c", "ab", "abc", "a.o", "b.o", "x.c", "foo", "bar", "build", ".a"]),
    st.sampled_from(["#x", "!x", "a b", " a", "-", "]", "[", "a\\b", "é", "x\ty", "a\nb"]),
)
FILES = st.lists(st.lists(NAMES, min_size=1, max_size=4).map("/".join), min_size=1, max_size=12)
GLOBS = st.one_of(
    NAMES.filter(lambda name: "\n" not in name),
    st.sampled_from(["*", "*.o", "?", "a*", "*b", "**", "***", "f?o", "*.*", "a**c", "?b*"]),
    st.sampled_from(["\\#x", "\\!x", "\\*", "a\\", "a\\ ", "[ab]", "[!a]", "[a-c]", "[^b]*", "[]]", "[", "[a"]),
)
PATTERNS = st.builds(
    lambda sign, lead, parts, tail: sign + lead + "/".join(parts) + tail,
    st.sampled_from(["", "", "", "!"]),
    st.sampled_from(["", "", "/", "**/"]),
    st.lists(GLOBS, min_size=1, max_size=3),
    st.sampled_from(["", "", "/", "/**", " ", "\\ ", "\r", "/*", "\t"]),
).filter(lambda pattern: not re.search(r"\[[^]]*/", pattern))  # a slash between brackets: see docs/workspace.md
RULES = st.lists(st.one_of(PATTERNS, st.sampled_from(["", "# comment", "/", "!", "//"])), max_size=6).map("\n".join)


@pytest.fixture(scope="module")
def git(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty repository without a work tree of its own."""
    folder = tmp_path_factory.mktemp("git")
    subprocess.run(["git", "init", "-q", "--bare", str(folder)], check=True)
    return folder


@settings(max_examples=80)
@given(files=FILES, rules=st.dictionaries(st.sampled_from(["", "a", "foo", "a/b"]), RULES, min_size=1, max_size=3))
@example(files=["a/x.o", "a/b"], rules={"": "a/\n*.o", "a": "!x.o"})
@example(files=["a/x.o", "a/y"], rules={"": "*.o", "a": "!a/\n!./"})
@example(files=["a/x.o"], rules={"": "a/\n!a/\n*.o", "a": "!/b"})
@example(files=["a/keep", "a/drop", "a/b/drop"], rules={"": "a/**\n!a/keep"})
@example(files=["a/foo/x", "foo/x"], rules={"": "/*\n!/a\n/a/*\n!/a/foo"})
@example(files=["["], rules={"": "[\t"})
@example(files=["[", "a"], rules={"": "[?-:]\n[a"})
def test_leaves_out_what_git_leaves_out(git: Path, files: list[str], rules: dict[str, str]) -> None:
    with TemporaryDirectory() as folder:
        top = Path(folder).resolve()
        for name in files:
            make_file(top / name, "")
        for place, text in rules.items():
            make_file(top / place / ".forgeignore", text)
        found = scan(os.fsencode(top), no_cache(top))
        assert {item.path for item in found.items if item.is_file} == not_ignored_by_git(git, top)


def make_file(path: Path, text: str) -> None:
    """Makes it, unless something is in its way."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        return


def not_ignored_by_git(git: Path, top: Path) -> set[bytes]:
    command = ["git", "-C", str(top), "ls-files", "-o", "-z", "--exclude-per-directory=.forgeignore"]
    environment = {**os.environ, "GIT_DIR": str(git), "GIT_WORK_TREE": str(top)}
    listed = subprocess.run(command, env=environment, capture_output=True, check=True).stdout
    return set(listed.split(b"\0")) - {b""}


def test_bytes_that_are_no_text_match_themselves(tmp_path: Path) -> None:
    for name in (b"\xff.o", b"\xfe.o", b"x\xff"):
        (tmp_path / os.fsdecode(name)).touch()
    (tmp_path / ".forgeignore").write_bytes(b"\xff.*\n?\xff\n")
    found = scan(os.fsencode(tmp_path), no_cache(tmp_path))
    assert [item.path for item in found.items] == [b".forgeignore", b"\xfe.o"]


def test_ignored_directory_is_not_entered(tmp_path: Path) -> None:
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "con").touch()  # a name that cannot be shared
    (tmp_path / ".forgeignore").write_text("build/\n")
    found = scan(os.fsencode(tmp_path), no_cache(tmp_path))
    assert [item.path for item in found.items] == [b".forgeignore"]


def test_symlink_is_no_rule_file(tmp_path: Path) -> None:
    (tmp_path / "rules").write_text("*\n")
    (tmp_path / ".forgeignore").symlink_to("rules")
    found = scan(os.fsencode(tmp_path), no_cache(tmp_path))
    assert [item.path for item in found.items] == [b".forgeignore", b"rules"]


def test_rule_file_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".forgeignore").write_bytes(b"\n" * ((1 << 20) + 1))
    with pytest.raises(UsageError, match=r"\.forgeignore is larger"):
        scan(os.fsencode(tmp_path), no_cache(tmp_path))
