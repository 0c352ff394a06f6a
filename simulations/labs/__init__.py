"""Hosts in miniature on one machine: real nodes, real kernels' networks, narrow cables. `docs/labs.md` tells more."""
