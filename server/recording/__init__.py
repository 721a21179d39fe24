"""What an attacker sees of a message, on the disk and back."""
