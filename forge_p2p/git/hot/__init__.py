"""Hot packs: a tree's objects, at hand as git's checkout wants them (docs/git.md)."""
