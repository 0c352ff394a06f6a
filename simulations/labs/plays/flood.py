"""A stranger."""

from simulations.labs.topology import Host, Lab


def flood(lab: Lab, victim: Host) -> None: ...
