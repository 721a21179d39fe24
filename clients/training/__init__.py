"""How a block of clients trains."""
