"""Federated training of a small network in plain torch, float64 and full batches: no engine, no stacks."""

from copy import deepcopy

import torch
from torch import nn


def vector(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def filled(model, params):
    """Return a copy of a model with these parameters."""
    copy = deepcopy(model)
    nn.utils.vector_to_parameters(params.clone(), copy.parameters())
    return copy


def features(model, x):
    """What enters the last layer of a ``Sequential``."""
    return model[:-1](x)


def federated(model, clients, cohorts, steps, lr, objective):
    """Return the global parameters after each round of FedAvg with equal weights, and what clients keep.

    Args:
        model: A ``Sequential`` in float64 with the initial weights.
        clients: (x, y) by client id.
        cohorts: Who takes part, round by round.
        steps, lr: Full-batch gradient steps.
        objective: From the local, the received and the previous model of a client, x and y, to a loss.
    """
    x_all, previous, seen = vector(model), {}, []
    for cohort in cohorts:
        ends = []
        for client in cohort:
            x, y = clients[client]
            received = filled(model, x_all)
            before = filled(model, previous.get(client, x_all))
            local = filled(model, x_all)
            for _ in range(steps):
                loss = objective(local, received, before, x, y)
                gradients = torch.autograd.grad(loss, list(local.parameters()))
                with torch.no_grad():
                    for p, g in zip(local.parameters(), gradients, strict=True):
                        p -= lr * g
            previous[client] = vector(local)
            ends.append(vector(local))
        x_all = torch.stack(ends).mean(dim=0)
        seen.append(x_all)
    return seen, previous
