"""What leakage attacks share: labels from gradients, requirements, what they return, how it is scored."""
