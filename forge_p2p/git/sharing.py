"""`forge git share`: a repository as it is now, for whoever has the ticket."""

import os

from forge_p2p.content.pathtext import path_text
from forge_p2p.git.calls import Run
from forge_p2p.git.manifests import Update, empty_manifest, updated, write_manifest
from forge_p2p.git.packing import Tips, pack_new
from forge_p2p.git.publishing import SPACES
from forge_p2p.git.putting import outgoing_folder
from forge_p2p.git.running import Git
from forge_p2p.node.repositories.results import RepositoryShareResult


def share(run: Run, git: Git, expires: float) -> RepositoryShareResult:
    """A ticket for the branches, tags and notes of `git`, good for `expires` seconds; 0: until it is unshared."""
    refs = git.refs(SPACES)
    updates = [Update(ref, oid) for ref, oid in refs.items()]
    with outgoing_folder(git.places.state) as folder:
        tips = Tips(list(dict.fromkeys(refs.values())), [])
        pack = pack_new(git, tips, lambda oid: False, os.path.join(folder, b"packs"))
        write_manifest(updated(git, empty_manifest(git.places.object_format), updates, pack), folder)
        arguments = {"folder": path_text(folder), "path": path_text(git.git_dir), "expires": expires}
        shared = run("git_share", arguments)
    assert isinstance(shared, RepositoryShareResult)
    return shared
