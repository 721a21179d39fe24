"""The search for examples whose gradient is the one that was sent."""
