"""`git-remote-forge`: gitremote-helpers(7) over the node (docs/git.md)."""
