"""The labels of known sequences of tokens, from the last layer's gradient, and how well both fit a message.

With cross-entropy the gradient of a last linear layer is a sum over labels of (p - onehot) h^T, whose inputs
h are known once the sequences are: least squares give p - onehot, negative at the label alone.

Source: Zhao, Mopuri, Bilen. iDLG. 2020, Section 3, for one label. arXiv:2001.02610. Many at once is ours.
"""

import math

import torch
from torch import Tensor, nn

from ....core.observation import Observation
from .attention_inputs import input_of
from .loud_tensors import loud_tensors


def labels_of(observation: Observation, model: nn.Module, x: Tensor) -> Tensor:
    """Return the labels of x [B, S] as the last layer's gradient has them; 0 where it says nothing.

    They are sure where the layer's inputs are linearly independent, or equal.  # [B, *label_shape]
    """
    views = observation.layout.views(-observation.update.nan_to_num(0.0, 0.0, 0.0).double())
    named = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    last = [n for n, m in named if m.out_features == observation.num_classes and f"{n}.weight" in views]
    nothing = torch.zeros(len(x), *observation.label_shape, dtype=torch.int64)
    if not last:
        return nothing
    read = _read(model, last[-1], x)  # [N, d]
    with torch.no_grad():
        p = model(x).flatten(0, -2).softmax(dim=1)  # [N, C]
    if len(read) != len(p) or len(p) != nothing.numel():
        return nothing
    weight = views[f"{last[-1]}.weight"]  # [C, d]
    back = torch.linalg.lstsq(read.T, weight.T, driver="gelsd").solution  # [N, C]
    likely = back.argmin(dim=1)  # [N]
    scale = (back.gather(1, likely[:, None]) / (p.gather(1, likely[:, None]) - 1)).median()  # lr / N
    shares = p - back / scale.clamp(min=1e-300)  # [N, C]
    return _dealt(read, shares, _next(x, observation)).reshape(nothing.shape)


def _read(model: nn.Module, layer: str, x: Tensor) -> Tensor:
    """Return what the last layer reads for each row of the model's outputs.  # [N, d]

    Where it answers at every position, and the model at one of each sentence, that is the one whose answer
    the model gives.
    """
    read = input_of(model, layer, x).double()
    with torch.no_grad():
        outputs, every = model(x), model.get_submodule(layer)(read)
    if every.ndim == 3 and outputs.ndim == 2:
        places = (every - outputs[:, None]).abs().amax(dim=2).argmin(dim=1)  # [B]
        read = read[torch.arange(len(read)), places]
    return read.flatten(0, -2)


def _next(x: Tensor, observation: Observation) -> Tensor:
    """Return the token after each position, -1 where there is none or a label is no such thing.  # [N]"""
    if tuple(observation.label_shape) != tuple(x.shape[1:]):
        return torch.full((len(x) * math.prod(observation.label_shape),), -1)
    return nn.functional.pad(x[:, 1:], (0, 1), value=-1).flatten()


def _dealt(read: Tensor, shares: Tensor, wished: Tensor) -> Tensor:
    """Return one label a row [N]; rows of equal inputs share theirs, and each takes what it wishes if it may.

    Args:
        read: The last layer's inputs.  # [N, d]
        shares: How much of a row's labels each class is; of equal rows the mean.  # [N, C]
        wished: A class for each row, or -1.  # [N]
    """
    apart = torch.cdist(read, read, compute_mode="donot_use_mm_for_euclid_dist")  # [N, N]
    first = (apart <= 1e-9 * read.norm(dim=1)).int().argmax(dim=1)  # of equal rows
    left = {int(i): shares[first == i].sum(dim=0) for i in first.unique()}
    labels = torch.zeros(len(read), dtype=torch.int64)
    rows = sorted(range(len(read)), key=lambda n: int(wished[n] < 0))
    for n in rows:
        own, wish = left[int(first[n])], int(wished[n])
        labels[n] = wish if wish >= 0 and own[wish] > 0.5 else own.argmax()
        own[labels[n]] -= 1
    return labels


def misfit(observation: Observation, model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return 1 - the cosine of the message and the step on x [B, S] and y [B, ...]: 0 of the truth.

    1 where either is zero. Only what was sent is compared.
    """
    return _angle(*_steps(observation, model, x, y))


def misfit_by_tensor(observation: Observation, model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return the mean of 1 - the cosine over the tensors that say something: 0 of the truth.

    The loudest tensors do not drown the others, which may be the ones that know of an order of words.
    """
    step, seen = _steps(observation, model, x, y)
    places = [slice(slot.start, slot.start + slot.size) for slot in loud_tensors(observation)]
    return sum(_angle(step[place], seen[place]) for place in places) / len(places)


def _angle(one: Tensor, other: Tensor) -> float:
    return float(1 - (one @ other) / (one.norm() * other.norm()).clamp(min=1e-300))


def _steps(observation: Observation, model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the step on x and y, and the message, float64.  # [P] both"""
    named = dict(model.named_parameters())
    own = [named[slot.name].requires_grad_(True) for slot in observation.layout.parameters]
    with torch.enable_grad():
        loss = nn.functional.cross_entropy(model(x).flatten(0, -2), y.flatten())
        found = torch.autograd.grad(loss, own, allow_unused=True)
    parts = [torch.zeros_like(p) if g is None else g for g, p in zip(found, own, strict=True)]
    step = -torch.cat([part.flatten() for part in parts]).double() * observation.support
    return step, observation.update.nan_to_num(0.0, 0.0, 0.0).double()
