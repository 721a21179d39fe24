"""How the clients' updates change when the global parameters move: compact L-BFGS on past rounds.

Source: Byrd, Nocedal, Schnabel. Representations of quasi-Newton matrices and their use in limited memory
methods. Mathematical Programming 63, 1994, equation (3.5).
"""

import numpy as np
import torch
from torch import Tensor

from .columns import column_blocks
from .geometry import products


def hessian_product(steps: Tensor, turns: Tensor, move: Tensor) -> Tensor:
    """Return B v, for the L-BFGS matrix B that maps each s_k to y_k as well as it can.  # [P]

    Args:
        steps: Past moves of the parameters, s, oldest first, the newest not 0.  # [m, P]
        turns: What they changed, y.  # [m, P]
        move: v.  # [P]
    """
    past = len(steps)
    ss, sy = products(steps, steps).numpy(), products(steps, turns).numpy()
    sigma = sy[-1, -1] / ss[-1, -1]
    lower = np.tril(sy, -1)
    middle = np.block([[sigma * ss, lower], [lower.T, -np.diag(np.diag(sy))]])  # [2 m, 2 m]
    v = move[None]
    right = np.concatenate([sigma * products(steps, v).numpy(), products(turns, v).numpy()])[:, 0]
    weights = np.linalg.pinv(middle) @ right  # the matrix may be singular
    result = sigma * move.to(torch.float64).numpy()
    for (columns, s), (_, y) in zip(column_blocks(steps), column_blocks(turns), strict=True):
        result[columns] -= sigma * (weights[:past] @ s.astype(np.float64))
        result[columns] -= weights[past:] @ y.astype(np.float64)
    return torch.from_numpy(result)
