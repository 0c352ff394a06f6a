"""Forge beside its peers: the same inputs, the same machine, the same run, turn by turn."""
