"""Forge: a peer-to-peer, content-addressed sync network for teams and CI."""

__version__ = "0.1.0"
