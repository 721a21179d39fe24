"""What runs where: stacked or not, compiled or not, on which device."""
