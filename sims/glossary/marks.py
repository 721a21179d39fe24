"""What letters and marks mean that stand beside numbers."""

from collections.abc import Mapping

SOK: Mapping[str, str] = {
    "A": "The attacker knows the model, the message and the public configuration.",
    "B": "It also knows the batch size, or labels.",
    "C": "It also knows details of the training: steps, step size, optimiser.",
    "D": "It also has surrogate data. No probe is told that.",
    "E": "It also has records of the clients' distribution.",
    "F": "The server changed the model.",
    "G": "The server changed the model and has records of the clients' distribution.",
    "H": "It also chooses who takes part. No probe is told that.",
}
"""Levels of the SoK of gradient inversion; which item of knowledge belongs to which letter is our choice."""
MARKS: Mapping[str, str] = {
    "-": "There is no such number, or nothing to divide by.",
    "–": "There is no such number, or nothing to divide by.",
    "±": "Half of the range over seeds, unless the table says otherwise.",
    "n": "How many seeds stand behind a line.",
    "ε": "epsilon.",
    "δ": "delta: the probability that epsilon may fail.",
    "γ": "The share of updates that should fit under the clip norm.",
    "▲": "The example that was rebuilt best.",
    "★": "All that is recovered is exact.",
    "exact": "A PSNR of 120 dB or more: a mean squared error of 1e-12 of the squared range at most.",
    "oracle": "The attack was told what no attacker in its place could know: a bound, not a claim.",
}
