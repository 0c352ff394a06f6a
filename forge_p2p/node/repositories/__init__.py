"""Git repositories as what names stand for: read, fetched, put (docs/git.md). What runs git is above, in `git`."""
