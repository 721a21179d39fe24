"""What a run guarantees, by what really happens in it, and what stands in the way."""
