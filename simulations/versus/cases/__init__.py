"""The cases by name, in the order of the report."""

from simulations.versus.bench import Case
from simulations.versus.cases import adds, edge, gateway, gets, hot, memory, resume, starts, syncs, updates, wire
from simulations.versus.git import checkouts, clones, joins, moves

CASES: dict[str, Case] = {
    case.name: case
    for module in (
        gets,
        wire,
        updates,
        syncs,
        adds,
        memory,
        resume,
        starts,
        hot,
        edge,
        gateway,
        clones,
        moves,
        joins,
        checkouts,
    )
    for case in module.CASES
}
