"""The node's bucket: content pushed there and fetched from there."""
