"""Messages on their way: down, up, waiting, received."""
