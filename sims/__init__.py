"""Floor 4: scenarios, command line, sweeps, results, plots."""
