"""Floor 2: what a client does: its data, its model, its local rule, its codec, and the pools that run it."""
