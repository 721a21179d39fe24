"""What models answer: the one that is evaluated, and candidates that a defense asks about."""
