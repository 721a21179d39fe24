"""How good models are: the global one, and clients' own."""
