"""A spec's run from its first round, or from a state, to its last one."""

from gauntlet.server.simulation import prepare


def rounds(spec, pool=None, state=None):
    """Return the simulation and its steps; ``pool`` makes a pool of a simulation, by default a serial one."""
    simulation = prepare(spec)
    pool = pool(simulation) if pool else simulation.serial_pool()
    try:
        return simulation, list(simulation.steps(pool, state))
    finally:
        pool.close()


def steps(spec, pool=None, state=None):
    return rounds(spec, pool, state)[1]


def states(spec, pool=None, state=None):
    return [step.state for step in steps(spec, pool, state)]


def last(simulation, pool, state=None):
    """Return the last step and close the pool."""
    *_, step = simulation.steps(pool, state)
    pool.close()
    return step


def fields(state):
    """Return a state's fields by name: two states are equal where these trees are."""
    return {name: getattr(state, name) for name in state.__dataclass_fields__}
