"""From what a request names to bytes: the store first, then the node."""
