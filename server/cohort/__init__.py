"""Who takes part in a round, who of them attacks, and who stands in which row."""
