"""What several client defenses share."""
