"""Git over Forge: packs, manifests, the remote helper, and what uses them (docs/git.md)."""
