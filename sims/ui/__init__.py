"""The page of a run while it goes on, served to this machine's user alone."""
