"""Rounds of the core algorithms' own functions on clients with f_i(x) = a_i/2 (x - b_i)^2, in float64.

It knows nothing of the engine: full-batch steps, the messages' mean by given weights, the server half.
"""

import numpy as np
import torch
from quadratics import ONE, T1

from gauntlet.clients.exchange.exchange import exchange_of
from gauntlet.core.client_rows import rows_of, with_rows
from gauntlet.core.contracts import Facts, LocalWork
from gauntlet.server.optimizers.sgd import SGD


def rounds(rule, how, count, clients=T1, optimizer=None, weights=None, cohorts=None, start=0.0, steps=None):
    """Return the parameter after each round, the server's state, and what the clients remember.

    Args:
        rule: A local rule.
        how: The training that it schedules, with ``local_steps``.
        count: How many rounds.
        clients: a and b of all clients.
        optimizer: The server's step where the rule has none.
        weights: What each client of a cohort counts in the mean; by default all alike.
        cohorts: Each round's clients; by default all.
        start: The first parameter.
        steps: How many steps each client takes; by default those of ``how``.
    """
    (a, b), exchange = clients, exchange_of(rule, ONE, how)
    x, memory, seen = torch.tensor([start], dtype=torch.float64), {}, []
    server = rule if hasattr(rule, "step") else optimizer or SGD()
    state = server.init()
    for number in range(count):
        ids = list(range(len(a))) if cohorts is None else list(map(int, cohorts[number]))
        share = torch.full((len(ids),), 1 / len(ids)) if weights is None else torch.tensor(weights)
        share = share.double() / share.double().sum()
        taken = [how.local_steps if steps is None else steps[i] for i in ids]
        own = rows_of(memory, ids, exchange.first(x))
        extra = rule.extra(x, state) if hasattr(rule, "extra") else torch.zeros(0, 1)
        told = exchange.besides(extra, own) if exchange.rule else ()
        update = _trained(rule, how, x, (a[ids], b[ids]), taken, told)
        slope, centre = (torch.tensor(part[ids])[:, None] for part in (a, b))
        gradient, losses = slope * (x - centre), (slope / 2 * (x - centre) ** 2)[:, 0]
        work = LocalWork(how, torch.tensor(taken).double()[:, None], gradient, losses)
        facts = ()
        if hasattr(rule, "facts"):
            told_of = {name: v.double() for name, v in rule.facts_of(update, work).items()}
            facts = (Facts(torch.tensor(ids), torch.ones(len(ids)).long(), share, how, told_of),)
            update = update * rule.factors(facts[0])[:, None]
        sent, kept = {"update": update}, {}
        if hasattr(rule, "finish"):
            sent, kept = rule.finish(update, x, *told, _silent(rule, work))
            memory = with_rows(memory, ids, torch.cat([kept[n] for n in exchange.memory.groups], dim=1))
        mean = (share[:, None] * torch.cat([sent[n] for n in exchange.up_groups], dim=1)).sum(dim=0)
        part = (len(ids) / len(a),) if facts or exchange.tells_more else ()
        x, state = server.step(x, mean, state, *(part if server is rule else ()), *facts)
        seen.append(float(x))
    return np.array(seen), state, memory


def _trained(rule, how, x, clients, taken, told):
    """Return each client's update after as many full-batch steps as it takes.  # [K, 1]"""
    slope, centre = (torch.tensor(part)[:, None] for part in clients)
    y = x.expand(len(taken), 1).clone()
    velocity = torch.zeros_like(y)
    for number in range(max(taken)):
        velocity = how.momentum * velocity + rule.correct(slope * (y - centre), y, x, *told)
        going = torch.tensor([number < k for k in taken])[:, None]
        y = torch.where(going, y - how.lr * velocity, y)
    return y - x


def _silent(rule, work):
    """Return what a rule is told of its training: no gradient of all examples unless it asks."""
    asks = getattr(rule, "full_gradient", False)
    return work if asks else LocalWork(work.training, work.steps)


def descent(how, count, clients=T1, start=0.0):
    """Return the parameter after each step of gradient descent on the mean of f_i: written out."""
    (a, b), x, seen = clients, start, []
    for _ in range(count):
        x -= how.lr * (a * (x - b)).mean()
        seen.append(x)
    return np.array(seen)
