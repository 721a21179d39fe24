"""What clients receive, send and state, as their algorithm declares it."""
