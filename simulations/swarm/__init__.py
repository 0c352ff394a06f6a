"""Swarms of the production machines (`proto.swarm`, `proto.turns`) in one process, under a virtual clock."""
