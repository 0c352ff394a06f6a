"""Names: publishing, pulling and following what they stand for (docs/sync.md)."""
