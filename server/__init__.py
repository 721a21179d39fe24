"""Floor 3: the round, the simulation, sampling, server optimisers, the network model, checkpoints."""
