"""Paths from outside: a table of what is refused and of what stays legal, and the fast way agrees with the slow one."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge_p2p.content import paths
from forge_p2p.content.paths import MAX_DEPTH, MAX_NAME, MAX_PATH, check_name, check_path, leads_outside
from forge_p2p.errors import HostileSnapshot

ZWNJ = b"\xe2\x80\x8c"

REFUSED = {
    "without a name": [b""],
    "absolute": [b"/", b"/etc/passwd", b"/passwd", b"//x", b"a/", b"a//b", b"a/b/"],
    "out of its directory": [
        *(b".", b"..", b"./a", b"../a", b"a/..", b"a/../b", b"a/./b", b"a/.", b"..\\a", b"a\\..", b"a\\..\\b"),
        *(b"." + ZWNJ + b".", ZWNJ, b"..:x", b".. ", b".. \\x", b"...", b"..\xef\xbb\xbf"),
    ],
    "'.git'": [
        *(b".git", b".git/config", b"a/.git", b"a/.git/hooks/post-checkout", b".GIT", b".Git", b".giT/x"),
        *(b"git~1", b"GIT~1", b"Git~1/config", b"a/giT~1", b"git~1 ", b"git~1.", b"git~1:x"),
        *(b".git ", b".git.", b".git..", b".git . .", b".git   /x", b".GIT. "),
        *(b".git::$INDEX_ALLOCATION", b".git::$INDEX_ALLOCATION/config", b".git:x", b".git :x", b".GIT.:"),
        *(b".git\\config", b".git \\config", b"a\\.git\\hooks", b"a\\.GIT", b"a\\git~1"),
        *(b".g" + ZWNJ + b"it", ZWNJ + b".git", b".git" + ZWNJ, b".G\xe2\x81\xaaI\xef\xbb\xbfT", b"a/.gi\xe2\x80\xaat"),
        *(b".g" + ZWNJ + b"it/config", b"gi\xe2\x80\x8ft~1"),
    ],
    "NTFS": [b"a::$INDEX_ALLOCATION", b"a:$I30:$Index_Allocation/b"],
    "dot or a space": [b"a.", b"a ", b"a./b", b"a /b", b"x/a. ", b"name. . ."],
    "device": [
        *(b"CON", b"con", b"a/NUL", b"nul/a", b"AUX", b"PRN", b"COM1", b"com9", b"LPT1", b"lpt9/x", b"CONIN$"),
        *(b"conout$", b"CLOCK$", b"COM\xc2\xb9", b"lpt\xc2\xb3", b"nul:x", b"CON:"),
    ],
    "zero byte": [b"a\0b", b"\0", b"a/\0/b"],
    "a name has 256 bytes": [b"n" * 256, b"a/" + b"n" * 256 + b"/b", b"\xc3\xa4" * 128],
    "a name has 300 bytes": [b"n" * 300, b"a/" + b"\xff" * 300],
    "directories deep": [b"/".join([b"d"] * (MAX_DEPTH + 1)), b"d/" * 2000 + b"d"],
    "path has": [(b"n" * 200 + b"/") * 21, b"n" * (MAX_PATH + 1)],
}

ALLOWED = [
    *(
        b"a",
        b"a/b/c.txt",
        b"README.md",
        b".gitignore",
        b".gitmodules",
        b".gitattributes",
        b".github/x",
        b".gitx",
        b".gi",
    ),
    *(b"git", b"git~2", b"git~10", b"a.git/config", b"x.git", b".git~", b"..a", b"...a", b".a.b", b"a..b", b"a...b"),
    *(b"- r", b"a b", b" a", b"~", b"#x#", b"a:b", b"Foo::Bar.3pm", b"dev-disk-by\\x2duuid.device", b"a\\b", b"$x"),
    *(
        b"con.txt",
        b"aux.c",
        b"lib/aux.h",
        b"nul-1",
        b"console",
        b"com/example",
        b"com0",
        b"com10",
        b"auxiliary",
        b"lpt",
    ),
    *(
        "ä/ö".encode(),
        "a\u0308".encode(),
        "日本語".encode(),
        b"\xff\xfe",
        b"a/\x80\x81",
        b"caf\xe9",
        "a\u200db".encode(),
    ),
    *(b"\x01\x1b[31m", b"line\nbreak", b"tab\t", b"*?<>|\"'`", b"n" * MAX_NAME, b"\xff" * MAX_NAME),
    *(b"/".join([b"d"] * MAX_DEPTH), (b"n" * 254 + b"/") * 16 + b"n" * 16),
]


@pytest.mark.parametrize(("reason", "path"), [(reason, path) for reason, all_ in REFUSED.items() for path in all_])
def test_refused(reason: str, path: bytes) -> None:
    with pytest.raises(HostileSnapshot, match=reason.replace(".", r"\.")):
        check_path(path)


@pytest.mark.parametrize("path", ALLOWED)
def test_allowed(path: bytes) -> None:
    check_path(path)
    for name in path.split(b"/"):
        check_name(name, path)


def test_the_longest_paths_are_where_the_table_says() -> None:
    assert len(ALLOWED[-1]) == MAX_PATH
    assert min(len(path) for path in REFUSED["path has"]) > MAX_PATH


def test_the_refusal_names_the_entry_harmlessly() -> None:
    with pytest.raises(HostileSnapshot) as caught:
        check_path(b"a\x1b[2J/\xff/..")
    assert r"'a\x1b[2J/\xff/..'" in caught.value.message
    with pytest.raises(HostileSnapshot) as caught:
        check_path(b"n" * 100_000)
    assert len(str(caught.value)) < 500


# Letters that the rules are about come up often enough for their combinations to come up too.
ALPHABET = [*(bytes((byte,)) for byte in b"./\\: ~$1gGiItTcConNauxA\0\n\xff"), ZWNJ, b".git", b"git~1", b"con", b".."]
PATHS = st.lists(st.sampled_from(ALPHABET), max_size=8).map(b"".join)


@settings(max_examples=1000)
@given(PATHS)
def test_the_fast_way_lets_nothing_pass_that_the_slow_way_refuses(path: bytes) -> None:
    faulty = any(paths._fault(name) for name in path.split(b"/"))
    try:
        check_path(path)
    except HostileSnapshot:
        assert faulty
    else:
        assert not faulty


@settings(max_examples=1000)
@given(PATHS)
def test_what_passes_passes_name_by_name_and_below_another_directory(path: bytes) -> None:
    try:
        check_path(path)
    except HostileSnapshot:
        with pytest.raises(HostileSnapshot):
            check_path(b"below/" + path)
    else:
        check_path(b"below/" + path)


def test_common_names_take_the_fast_way() -> None:
    for path in (
        b"a/b.py",
        b"numpy-2.1.dist-info/METADATA",
        b".github/workflows/ci.yml",
        b"__pycache__/x.cpython-311.pyc",
    ):
        assert paths._CLEAN_PATH(path)


# NTFS's separators after the first name, and both file systems' habits at once, are further than git goes.
STRICTER_THAN_GIT = {b"a\\.git\\hooks", b"a\\.GIT", b"a\\git~1", b"gi\xe2\x80\x8ft~1"}


@pytest.mark.parametrize("path", [path for path in REFUSED["'.git'"] if path not in STRICTER_THAN_GIT])
def test_git_refuses_it_too(path: bytes, tmp_path: Path) -> None:
    """The table is no invention: git's own check refuses each spelling of `.git` when all its protections are on."""

    def git(*args: bytes | str) -> subprocess.CompletedProcess[bytes]:
        protect = ("-c", "core.protectHFS=true", "-c", "core.protectNTFS=true")
        return subprocess.run(["git", *protect, *args], cwd=tmp_path, capture_output=True, check=False)

    assert git("init", "-q", ".").returncode == 0
    blob = subprocess.run(
        ["git", "hash-object", "-w", "--stdin"], cwd=tmp_path, input=b"x", capture_output=True, check=True
    ).stdout.strip()
    done = git("update-index", "--add", "--cacheinfo", b"100644," + blob + b"," + path)
    assert done.returncode != 0, "git accepts it"
    assert b"nvalid path" in done.stderr


@pytest.mark.parametrize(
    ("path", "target", "outside"),
    [
        (b"link", b"file", False),
        (b"link", b"a/b", False),
        (b"link", b".", False),
        (b"a/link", b"..", False),
        (b"a/link", b"../file", False),
        (b"a/b/link", b"../../c/d", False),
        (b"a/link", b"./../file", False),
        (b"link", b"/etc/passwd", True),
        (b"link", b"..", True),
        (b"link", b"../file", True),
        (b"a/link", b"../../file", True),
        (b"link", b"a/../../file", True),
        (b"link", b"a/..", True),
        (b"a/link", b"..//../x", True),
    ],
)
def test_symlinks_that_could_lead_outside(path: bytes, target: bytes, outside: bool) -> None:
    assert leads_outside(path, target) is outside
