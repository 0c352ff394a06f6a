"""The edge of a Forge network: an HTTP gateway, and seeds that ops can run (`../deploy` has what they deploy)."""
