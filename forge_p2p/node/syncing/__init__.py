"""Folders kept the same on many machines, in both directions; `docs/sync.md` has the reasons."""
