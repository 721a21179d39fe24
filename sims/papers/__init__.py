"""One scenario per reproduced paper."""
