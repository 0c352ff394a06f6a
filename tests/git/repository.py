"""Real repositories for tests, made by git itself and apart from whatever the person who runs the tests has set."""

import os
import random
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
}


@dataclass(frozen=True, slots=True)
class Repository:
    """One repository. Every command has to end with 0."""

    path: Path

    @classmethod
    def create(cls, path: Path, *, form: str = "sha1", bare: bool = True) -> "Repository":
        words = ["init", "-q", "-b", "main", f"--object-format={form}", *(["--bare"] if bare else [])]
        subprocess.run(["git", *words, path], check=True, env=ENVIRONMENT)
        return cls(path)

    def git(self, *words: str | Path, given: str | bytes = b"") -> str:
        raw = given.encode() if isinstance(given, str) else given
        done = subprocess.run(
            ["git", *words], check=False, cwd=self.path, input=raw, capture_output=True, env=ENVIRONMENT
        )
        assert done.returncode == 0, f"git {words}: {done.stderr.decode('utf-8', 'replace')}"
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def commit(self, files: Mapping[str, bytes], *, branch: str = "main", fresh: bool = False) -> str:
        """One more commit on a branch that writes these files. `fresh`: the branch begins with it. Returns its name."""
        known = not fresh and self.git("for-each-ref", f"refs/heads/{branch}") != ""
        number = int(self.git("rev-list", "--all", "--count"))
        lines = [
            f"commit refs/heads/{branch}\ncommitter Ada <ada@example.org> {1_700_000_000 + number} +0000\n".encode(),
            b"data 4\nnext\n",
            f"from refs/heads/{branch}^0\n".encode() if known else b"",
        ]
        for name, content in files.items():
            lines.append(b"M 100644 inline %b\ndata %d\n%b\n" % (name.encode(), len(content), content))
        self.git("fast-import", "--quiet", "--force", given=b"".join(lines))
        return self.git("rev-parse", f"refs/heads/{branch}")

    def pack(self, folder: Path, wanted: Iterable[str], *words: str) -> Path:
        """A pack of exactly these objects, with its index; offset deltas unless `words` say otherwise."""
        words = words or ("--delta-base-offset",)
        name = self.git("pack-objects", "-q", *words, folder / "pack", given="".join(f"{each}\n" for each in wanted))
        return folder / f"pack-{name}.pack"

    def objects(self, *revisions: str) -> list[str]:
        """The names of all objects that `rev-list` reaches."""
        return [line.split()[0] for line in self.git("rev-list", "--objects", *revisions).splitlines()]


def edited(source: random.Random, lines: int = 60) -> bytes:
    """A text of which two are alike enough to become deltas."""
    return b"".join(b"line %d of a text that changes in places\n" % source.randrange(40) for _ in range(lines))
