"""What a fetch and a push cost by git alone: with a helper that answers at once and does nothing, and all in place."""

import os
from dataclasses import replace

from simulations.versus.bench import Bench, Contender
from simulations.versus.git.corpus import git
from simulations.versus.git.following import Following
from simulations.versus.git.sides import Offer
from simulations.versus.inputs import Different

NAME = "git, helper that does nothing"

_HELPER = r"""#!/bin/sh
while read -r word rest; do
  case $word in
    capabilities) printf 'option\nfetch\npush\n\n' ;;
    option) echo unsupported ;;
    list) read -r line <"$GIT_DIR/listed"; printf '%s\n\n' "$line" ;;
    fetch) while read -r more && [ -n "$more" ]; do :; done; echo ;;
    push) while read -r more && [ -n "$more" ]; do :; done; printf 'ok %s\n\n' "${rest#*:}" ;;
    *) exit ;;
  esac
done
"""


class Floor(Following):
    """A clone whose remote is that helper. What it fetches is there before it does, without a ref; what it pushes goes
    nowhere."""

    def __init__(self, bench: Bench, offer: Offer) -> None:
        super().__init__(bench, NAME, offer, str(offer.path))
        programs = bench.fresh("nothing")
        programs.mkdir()
        (programs / "git-remote-nothing").write_text(_HELPER)
        (programs / "git-remote-nothing").chmod(0o755)
        self._variables = {"PATH": f"{programs}:{os.environ['PATH']}"}
        self._run("remote", "set-url", "origin", "nothing://")

    def fetching(self) -> Contender:
        made = super().fetching()

        def prepare() -> None:
            made.prepare()
            self._run("fetch", "--quiet", "--no-write-fetch-head", str(self._offer.path), "main")
            self._list(self._offer.tip)

        return replace(made, prepare=prepare)

    def pushing(self) -> Contender:
        made = super().pushing()

        def prepare() -> None:
            made.prepare()
            self._list(git(self._copy, "rev-parse", "origin/main"))

        return replace(made, prepare=prepare, check=self._check_told)

    def _list(self, tip: str) -> None:
        (self._copy / ".git" / "listed").write_text(f"{tip} refs/heads/main\n")

    def _check_told(self) -> None:
        """Raises unless git believes that it has pushed."""
        if git(self._copy, "rev-parse", "HEAD") != git(self._copy, "rev-parse", "origin/main"):
            raise Different(f"{NAME}: git has not taken the answer")
