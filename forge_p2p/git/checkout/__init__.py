"""Work trees from a bare repository, faster than git writes them, and then kept by git itself (docs/git.md)."""
