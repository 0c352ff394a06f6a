"""Protected refs: who reads a repository checks that nobody but admins has moved them.

The home of a name decides about order, not about what a repository's rules say; and who pushes may have a helper of his
own. So a record that is not an admin's carries, in its listing, listing and manifest of the newest one that is. The
record log says which that is and what its target was, so both are what that admin signed; and against that manifest
everybody can hold the one that the name stands for now.
"""

from forge_p2p.content.gitmanifest import GitManifest


def fault_against(vouched: GitManifest | None, now: GitManifest) -> str:
    """What somebody without the right has done since `vouched`, the manifest of the newest record by an admin (`None`:
    there is none); empty for nothing."""
    if now.rules != (vouched.rules if vouched is not None else []):
        return "its rules were changed"
    if vouched is None:
        return ""
    before, after = vouched.ref_map(), now.ref_map()
    for ref in sorted(before.keys() | after.keys()):
        if before.get(ref) != after.get(ref) and vouched.rules_for(ref)[0]:
            return f"the protected ref {ref.decode(errors='replace')} was moved"
    return ""
