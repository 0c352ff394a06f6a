"""Commit-graphs beside packs: what spares git reading commits one by one (docs/git.md)."""
