"""`forge git rules`: what may be done with which refs of a published repository."""

import click

from forge_p2p.cli.names import IN_NETWORK
from forge_p2p.cli.output import emit
from forge_p2p.cli.run import runner
from forge_p2p.cli.settings import ForgeCommand, Settings, pass_settings
from forge_p2p.node.repositories.results import RuleEntry, RulesResult

PATTERN = "PATTERN"


@click.command("rules", cls=ForgeCommand)
@click.argument("name")
@click.option("--protect", multiple=True, metavar=PATTERN, help="Only admins of the network move these refs.")
@click.option("--forward", multiple=True, metavar=PATTERN, help="These refs are not rewound or deleted.")
@click.option("--drop", multiple=True, metavar=PATTERN, help="No rule for this pattern any more.")
@IN_NETWORK
@pass_settings
def command(
    settings: Settings,
    name: str,
    protect: tuple[str, ...],
    forward: tuple[str, ...],
    drop: tuple[str, ...],
    in_network: str,
) -> None:
    """List or change what may be done with refs of the repository NAME.

    A pattern is a branch, like main, or all below a folder, like release/*; others begin with refs/. Only admins change
    rules. Who reads refuses a repository in which somebody else has moved a protected ref.
    """
    from forge_p2p.git.calls import Node
    from forge_p2p.git.policy import change_rules, edited, full_pattern

    node = Node(runner(settings), name, in_network)
    patterns = [[full_pattern(each) for each in group] for group in (protect, forward, drop)]
    published = change_rules(node, lambda rules: edited(rules, *patterns))
    about, manifest = published.about, published.manifest
    rules = manifest.rules if manifest is not None else []
    entries = [RuleEntry(rule.pattern.decode(errors="replace"), rule.protected, rule.forward) for rule in rules]
    lines = [f"{each.pattern}  {_words(each)}" for each in entries]
    emit(settings, RulesResult(about.network, about.name, about.seq, entries), lines)


def _words(entry: RuleEntry) -> str:
    return ", ".join(word for word, holds in (("protected", entry.protected), ("forward", entry.forward)) if holds)
