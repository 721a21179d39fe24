"""One step as a graph of tensor operations, for a stack of clients."""
