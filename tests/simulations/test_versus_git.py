"""The repositories and servers that git is measured with are real."""

import subprocess
from pathlib import Path

import pytest

from simulations.versus.bench import Bench, run_case
from simulations.versus.cases import CASES
from simulations.versus.git import corpus as corpora
from simulations.versus.git.corpus import Corpus, Size, corpus, git
from simulations.versus.git.growth import grown, schedule
from simulations.versus.git.releases import Release
from simulations.versus.git.servers import checked, daemon, http
from simulations.versus.inputs import Inputs

FILES = {
    "a/old.py": b"import this\n" * 40,
    'a/say "hi".txt': b"text of some length\n" * 30,
    "b/logo.png": b"\x89PNG\0" * 100,
}
NEWER = {**FILES, "a/new.py": b"print('more')\n" * 40, "a/old.py": b"import that\n" * 40}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Bench, Corpus]:
    """A small repository from two releases that need no network."""
    monkeypatch.setattr(corpora, "read", lambda release, cache: NEWER if "2" in release.title else FILES)
    monkeypatch.setitem(corpora.SIZES, "small", Size([Release(["some==1"]), Release(["some==2"])], 30))
    bench = Bench(tmp_path, Inputs(tmp_path / "cache", quick=True), True, lambda line: None)
    return bench, corpus(bench.inputs, "large")


def test_a_corpus_is_a_sound_history(made: tuple[Bench, Corpus]) -> None:
    _, repository = made
    checked(repository.path)
    assert git(repository.path, "rev-list", "--count", "main") == "32"
    assert git(repository.path, "rev-list", "--count", f"{repository.before}..main") == "10"
    assert git(repository.path, "log", "--format=%s", "--reverse", "main").splitlines()[:2] == ["some 1", "some 2"]
    assert git(repository.path, "diff", "--name-status", "main~31", "main~30").split() == [
        "A",
        "a/new.py",
        "M",
        "a/old.py",
    ]
    assert repository.objects == len(git(repository.path, "rev-list", "--objects", "main").splitlines())
    assert repository.files == len(NEWER)


def test_a_real_repository_is_taken_as_it_is_at_its_head(made: tuple[Bench, Corpus], tmp_path: Path) -> None:
    _, repository = made
    real = tmp_path / "real"
    git(tmp_path, "clone", "--quiet", repository.path, real)
    git(real, "checkout", "--quiet", "-b", "side", "main~3")
    inputs = Inputs(tmp_path / "cache", quick=False, repository=real)
    taken = corpus(inputs, "large")
    checked(taken.path)
    assert taken.tip == git(real, "rev-parse", "side")
    assert git(taken.path, "for-each-ref", "--format=%(refname)") == "refs/heads/main"
    assert corpus(inputs, "mid") == taken
    git(real, "checkout", "--quiet", "main")
    assert corpus(inputs, "large").tip == repository.tip


def test_growth_is_the_same_every_time() -> None:
    plan = schedule(FILES, 50, 3)
    assert plan == schedule(FILES, 50, 3)
    assert {edit.path for edits in plan for edit in edits} == {"a/old.py", 'a/say "hi".txt'}
    versions = grown("a/old.py", FILES["a/old.py"], 20)
    assert versions == grown("a/old.py", FILES["a/old.py"], 20)
    assert len(set(versions)) == 20


def test_both_servers_give_the_repository(made: tuple[Bench, Corpus], tmp_path: Path) -> None:
    _, repository = made
    root = repository.path.parent
    (root / "bundles").mkdir()
    git(repository.path, "bundle", "create", root / "bundles" / "all.bundle", "main")
    with daemon(root) as plain, http(root, tmp_path / "http") as web:
        for number, url in enumerate((plain, web)):
            copy = tmp_path / f"copy{number}"
            subprocess.run(["git", "clone", "-q", f"{url}{repository.path.name}", copy], check=True)
            assert git(copy, "rev-parse", "HEAD") == repository.tip
        words = ["git", "clone", "-q", f"--bundle-uri={web}bundles/all.bundle", f"{web}{repository.path.name}"]
        subprocess.run([*words, tmp_path / "bundled"], check=True)
        assert git(tmp_path / "bundled", "rev-parse", "HEAD") == repository.tip


@pytest.mark.parametrize("name", sorted({name for name in CASES if name.startswith("git_")} - {"git_clone_large"}))
def test_cases_run(made: tuple[Bench, Corpus], name: str) -> None:
    bench, _ = made
    trial, turns = run_case(bench, CASES[name], 1)
    assert set(turns) == {contender.name for contender in trial.contenders}
