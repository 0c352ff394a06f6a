"""The rules of a published repository: read, and changed by admins."""

import os
from collections.abc import Callable, Sequence
from tempfile import TemporaryDirectory

from forge_p2p.content.gitmanifest import GitRule
from forge_p2p.content.membership import Role
from forge_p2p.errors import Conflict, NotFound, Refused
from forge_p2p.git.calls import Node, Published
from forge_p2p.git.manifests import write_manifest
from forge_p2p.git.remote.push import TRIES

Edit = Callable[[Sequence[GitRule]], list[GitRule]]


def change_rules(node: Node, edit: Edit) -> Published:
    """Makes the rules of a repository what `edit` makes of them; the repository as it is then. Raises `NotFound`,
    `Refused`, `Conflict`."""
    for _ in range(TRIES):
        published = node.read()
        if published.manifest is None:
            raise NotFound(f"nothing is published as {published.about.name!r}", hint="forge git publish REPO NAME")
        rules = edit(published.manifest.rules)
        if rules == published.manifest.rules:
            return published
        if published.about.own_role != Role.ADMIN.name.lower():
            raise Refused("only admins of the network change a repository's rules")
        with TemporaryDirectory(prefix="forge-") as folder:
            write_manifest(published.manifest.with_rules(rules), os.fsencode(folder))
            try:
                node.put(published, os.fsencode(folder))
            except Conflict:
                continue
    raise Conflict(f"{TRIES} records by others came first, one after the other", hint="try again later")


def full_pattern(text: str) -> bytes:
    """A pattern as a person writes it: `main` is a branch, `release/*` all below, `refs/tags/*` is what it says."""
    return os.fsencode(text if text.startswith("refs/") else f"refs/heads/{text}")


def edited(
    rules: Sequence[GitRule], protect: Sequence[bytes], forward: Sequence[bytes], drop: Sequence[bytes]
) -> list[GitRule]:
    """`rules` with some more protected, or only going forward, and those for the patterns of `drop` gone."""
    found = {rule.pattern: rule for rule in rules if rule.pattern not in drop}
    for pattern in dict.fromkeys((*protect, *forward)):
        old = found.get(pattern, GitRule(pattern, protected=False, forward=False))
        found[pattern] = GitRule(
            pattern, protected=old.protected or pattern in protect, forward=old.forward or pattern in forward
        )
    return [found[pattern] for pattern in sorted(found)]
