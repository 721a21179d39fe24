"""The search for examples whose gradient is the one that was sent, all restarts in one batch."""
