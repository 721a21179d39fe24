"""How many independent equations a message holds at most, counted before anybody looks at it.

The gradient of a linear layer by its weight and bias is D^T [A, 1], with the slopes D [n, O] at its outputs
and its inputs A [n, F] in n rows, one an example (of a convolution one an example and position, F being what
one sees there). So it is of rank n at most, and matrices of rank r with O rows and K columns are no more than
r (O + K - r) numbers, however many entries they have. Behind the last layer the slopes of each example, what
the model predicts minus the label, have the sum 0, which is a row less.

Source: the dimension: Vandereycken. Low-Rank Matrix Completion by Riemannian Optimization. SIAM Journal on
Optimization 2013, Proposition 2.1. That it is counted in gradients is ours.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from ....core.errors import PluginError
from ....core.observation import Observation
from ....core.seeds import generator
from .engine import Found
from .gradients import attacked_model

_SPARE = 8  # columns of a sketch beyond four an example; one that they fill counts as of full rank
_ROUNDING = 1e-10  # in float64, of the largest singular value


def independent_equations(observation: Observation) -> int:
    """Return how many independent numbers the gradient of the message's examples can hold at most.

    Ranks are those of gradients of random examples, which no others exceed. A tensor of full rank, or that
    is no matrix, counts whole, and so does a model of which these cannot be computed.
    """
    try:
        samples = [_sampled(observation, number) for number in range(2)]
    except Exception:  # whoever searches with this model says what is wrong
        return sum(slot.size for slot in observation.layout.parameters)
    left, found = {slot.name: slot.size for slot in observation.layout.parameters}, 0
    for name in [n for n, part in samples[0].items() if part.ndim > 1]:
        bias = f"{name.removesuffix('weight')}bias"
        matrices = [_with_bias(sample, name, bias) for sample in samples]
        free = max(_free(m, observation.knowledge.batch_size or 1) for m in matrices)
        whole = left.pop(name)
        if matrices[0].numel() > whole:
            whole += left.pop(bias)
        found += min(free, whole)
    return found + sum(left.values())


def missing_equations(observation: Observation, searched_labels: bool) -> int:
    """Return how many more numbers the examples have than the message holds equations, or 0.

    Args:
        observation: The message.
        searched_labels: Whether labels are searched too; those of an example have the sum 1.
    """
    values = math.prod(observation.input_shape)
    each = values + (observation.num_classes - 1 if searched_labels else 0)
    wanted = (observation.knowledge.batch_size or 1) * each
    return max(0, wanted - independent_equations(observation))


def refuse_mixtures(observation: Observation) -> None:
    """Refuse to search labels beside examples where other examples with other labels fit as well.

    Raises:
        PluginError: The message holds too few equations, as that of one linear layer and several examples,
            of which any mixture fits.
    """
    if missing := missing_equations(observation, searched_labels=True):
        size = observation.knowledge.batch_size or 1
        raise PluginError(
            f"a message of this model holds {missing} equations fewer than {size} examples and their labels "
            "have numbers, so that mixtures fit as well; labels_known = true tells the labels, and labels = "
            "'ilrg' reads them"
        )


def unless_mixtures(found: Found, observation: Observation, searched_labels: bool) -> Found:
    """Return what was found; what fits a message that holds too few equations, as ``not_certified``.

    How many are missing is said in ``details`` (``missing_equations``).
    """
    if found.stopped != "converged" or not (missing := missing_equations(observation, searched_labels)):
        return found
    details = {**found.details, "missing_equations": float(missing)}
    return replace(found, stopped="not_certified", details=details)


def _sampled(observation: Observation, number: int) -> dict[str, Tensor]:
    """Return the gradient of as many random examples, in float64."""
    model, size = attacked_model(observation).double(), observation.knowledge.batch_size or 1
    stream = generator(number, "independent equations")
    x = torch.from_numpy(stream.uniform(size=(size, *observation.input_shape)))
    y = torch.from_numpy(stream.dirichlet([1.0] * observation.num_classes, size))
    named = dict(model.named_parameters())
    parameters = {slot.name: named[slot.name].requires_grad_() for slot in observation.layout.parameters}
    with torch.enable_grad():
        loss = functional.cross_entropy(model(x), y)
        found = torch.autograd.grad(
            loss, list(parameters.values()), allow_unused=True, materialize_grads=True
        )
    return dict(zip(parameters, found, strict=True))


def _with_bias(sample: dict[str, Tensor], name: str, bias: str) -> Tensor:
    """Return a tensor's gradient as a matrix, with that of its bias as a column if there is one.  # [O, K]"""
    matrix = sample[name].flatten(1)
    if bias not in sample or sample[bias].shape != matrix.shape[:1]:
        return matrix
    return torch.cat([matrix, sample[bias][:, None]], dim=1)


def _free(matrix: Tensor, size: int) -> int:
    """Return how many numbers a matrix [O, K] like this one holds, the rank being what it is."""
    rows, columns = matrix.shape
    rows -= int(matrix.sum(dim=0).norm() <= _ROUNDING * matrix.norm())
    width = min(4 * size + _SPARE, columns)
    sketch = torch.from_numpy(generator(0, "sketch").standard_normal((columns, width)))
    values = torch.linalg.svdvals(matrix @ sketch)
    rank = int((values > _ROUNDING * values[0]).sum())
    if rank == width < columns:
        return rows * columns
    return min(rank * (rows + columns - rank), rows * columns)
