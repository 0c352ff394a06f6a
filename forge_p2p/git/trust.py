"""Whose packs are taken as they are, with the indexes that came with them.

Every byte is what somebody signed; the question is whether that somebody is believed to have packed what git would have
packed. Who may write to the network is, unless the repository's owner says otherwise: `git config forge.trust admins`
believes admins alone, `nobody` has git index and check everything before it is used. Who issued a ticket is not.
"""

from forge_p2p.content.gitmanifest import pack_name
from forge_p2p.errors import Untrusted, UsageError
from forge_p2p.git.running import Git
from forge_p2p.node.repositories.results import RepositoryResult

SETTING = "forge.trust"
MEMBERS, ADMINS, NOBODY = "members", "admins", "nobody"


def is_trusted(git: Git, about: RepositoryResult) -> bool:
    """Whether what this signer has published needs no check before it is used. Raises `UsageError`."""
    setting = git.settings.get(SETTING) or MEMBERS
    if setting not in (MEMBERS, ADMINS, NOBODY):
        raise UsageError(f"git config {SETTING} is {setting!r}", hint=f"one of {MEMBERS}, {ADMINS}, {NOBODY}")
    if not about.member or setting == NOBODY:
        return False
    return setting == MEMBERS or about.role == "admin"


def refused(pack: bytes, about: RepositoryResult, fault: str) -> Untrusted:
    """The error about a pack that git finds wrong before it is used."""
    return Untrusted(f"git refuses {pack_name(pack)}, published by node {about.author[:16]}: {fault}")
