"""What schedules share, and the mathematics of those that are to come."""
