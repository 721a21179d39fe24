"""Clients that are a function of their parameters, and rounds of an algorithm on them: for black boxes."""

from dataclasses import dataclass

import torch

from gauntlet.clients.algorithms import ALGORITHMS
from gauntlet.clients.exchange.exchange import exchange_of
from gauntlet.core.contracts import Facts, LocalTraining
from gauntlet.core.layout import Layout, Slot
from gauntlet.core.seeds import generator


@dataclass
class Box:
    """A client's visit; ``asked`` counts the values that were really asked for."""

    function: object
    round: int
    client_id: int
    received: torch.Tensor
    shared: dict
    own: dict
    asked: int = 0

    def losses(self, points, rows=None):
        self.asked += len(points)
        return self.function(points.double()).float()

    def gradient(self, params, rows=None):
        at = params.double().requires_grad_()
        value = self.function(at[None])[0]
        return torch.autograd.grad(value, at)[0].float(), value.detach().float()

    def stream(self, purpose):
        return generator(3, purpose, self.round, self.client_id)


def play(name, functions, start, rounds, **options):
    """Return the parameters after each round [P], what clients stated and what they really asked for."""
    rule, params = ALGORITHMS.build(name, options), start
    exchange = exchange_of(rule, Layout((Slot("x", (len(start),), 0),)), rule.schedule(LocalTraining()))
    memory = [exchange.first(params).clone() for _ in functions]
    state, seen, stated, asked = rule.init(), [], [], []
    for t in range(rounds):
        messages = []
        shared = exchange.told(rule.extra(params, state).reshape(1, -1))
        for i, function in enumerate(functions):
            own = exchange.memory.views(memory[i]) if exchange.memory.parameters else {}
            visit = Box(function, t, i, params, shared, own)
            worked = rule.work(visit)
            memory[i] = memory[i] if worked.memory is None else worked.memory
            messages.append(worked.message)
            stated.append(worked.facts["queries"])
            asked.append(visit.asked)
        ids, equal = torch.arange(len(functions)), torch.full((len(functions),), 1.0 / len(functions))
        told = Facts(ids, ids, equal, LocalTraining(), {"queries": torch.tensor(stated[-len(functions) :])})
        params, state = rule.step(params, torch.stack(messages).mean(dim=0), state, 1.0, told)
        seen.append(params)
    return seen, stated, asked


def quadratics(size, clients, div, seed=0):
    """f_i(x) = .1 / d (c1_i . z^2 + c2_i . z + 1), z = 20 clip(x, 0, 1) - 10; the mean c is 1."""
    shares = generator(seed, "c").dirichlet([1 / clients] * clients, (2, size))
    c = torch.from_numpy(1 + div * (shares - 1 / clients)).permute(2, 0, 1)  # [n, 2, d]

    def one(c1, c2):
        def f(x):
            z = 20 * x.clamp(0, 1) - 10
            return 0.1 / size * ((c1 * z**2 + c2 * z).sum(dim=1) + 1)

        return f

    return [one(*pair) for pair in c]


def mean_of(functions, x):
    return float(sum(f(x.double()[None])[0] for f in functions)) / len(functions)
