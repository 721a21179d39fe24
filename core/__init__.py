"""Floor 1: the shared words. Imports nothing of ours."""
