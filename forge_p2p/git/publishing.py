"""`forge git publish`: a repository's branches, tags and notes become what a name stands for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from forge_p2p.content.gitmanifest import GitManifest, GitRule
from forge_p2p.content.membership import Role
from forge_p2p.errors import Conflict, Refused
from forge_p2p.git.calls import Node, Published
from forge_p2p.git.manifests import Update, manifest_for
from forge_p2p.git.putting import put_updates
from forge_p2p.git.remote.push import TRIES, own_role, require_pusher
from forge_p2p.git.running import Git
from forge_p2p.node.repositories.results import RepositoryPutResult

SPACES: Final = ("refs/heads", "refs/tags", "refs/notes")
"""What is published. Remote-tracking refs, stashes and the rest are the repository's own business."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`put` is `None` when the name stood for that already. `refs`: how many are published."""

    published: Published
    put: RepositoryPutResult | None
    refs: int


def publish(node: Node, git: Git, rules: Sequence[GitRule] | None = None) -> Outcome:
    """Makes the node's name stand for the refs of `git`, and no others. `rules`: from now on; `None`: as they were.
    Raises `Conflict` when others are always faster, `Refused`, `UsageError`."""
    for _ in range(TRIES):
        published = node.read()
        require_pusher(published)
        before = manifest_for(git, published)
        refs = git.refs(SPACES)
        updates = list(_updates(before, refs))
        _require_allowed(before, published, updates, rules)
        same_rules = rules is None or list(rules) == before.rules
        if not updates and same_rules and published.manifest is not None:
            return Outcome(published, None, len(refs))
        try:
            wanted = before if same_rules else before.with_rules(list(rules or ()))
            return Outcome(published, put_updates(node, git, published, wanted, updates), len(refs))
        except Conflict:
            continue
    raise Conflict(f"{TRIES} records by others came first, one after the other", hint="try again later")


def _updates(before: GitManifest, refs: dict[bytes, bytes]) -> Iterable[Update]:
    old = before.ref_map()
    spaces = tuple(space.encode() + b"/" for space in SPACES)
    yield from (Update(ref, b"") for ref in old if ref.startswith(spaces) and ref not in refs)
    yield from (Update(ref, oid) for ref, oid in refs.items() if old.get(ref) != oid)


def _require_allowed(
    before: GitManifest, published: Published, updates: Sequence[Update], rules: Sequence[GitRule] | None
) -> None:
    """Raises `Refused` where the repository's rules leave it to admins."""
    if own_role(published) is Role.ADMIN:
        return
    if rules is not None and before.rules:
        raise Refused("only admins of the network change the rules of a repository that has some")
    for update in updates:
        if any(before.rules_for(update.ref)):
            name = update.ref.decode(errors="replace")
            raise Refused(f"{name} is protected: only admins publish it as a whole", hint="git push moves it forward")
