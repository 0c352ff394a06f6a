"""A process with everything imported, of which a run of `git-remote-forge` gets a child (docs/git.md)."""
