"""The next token after every token of a sequence: cross-entropy, perplexity, and the share that is right.

Source: Bengio, Ducharme, Vincent, Jauvin. A Neural Probabilistic Language Model. JMLR 3, 2003.
"""

from dataclasses import dataclass
from math import exp
from typing import ClassVar

from torch import Tensor, nn

from ...core.contracts import DataFacts, Measured


@dataclass(frozen=True)
class LanguageModel:
    """A model gives V logits a position [S, V]; the answer is the token of the largest at each.

    An example is a sequence of S tokens with the token that follows each of them, and its loss is the mean
    cross-entropy over the S positions, in nats. ``accuracy`` is the share of all positions whose token is
    right, and ``perplexity`` is e to the mean loss: 1 at best, V of a model that knows nothing.
    """

    losses: ClassVar[tuple[str, ...]] = ("cross_entropy",)
    has_accuracy: ClassVar[bool] = True
    metrics: ClassVar[tuple[str, ...]] = ("perplexity",)

    def outputs(self, facts: DataFacts) -> tuple[int, ...]:
        one_each = len(facts.input_shape) == 1 and facts.label_shape == facts.input_shape
        if not (one_each and facts.num_tokens > 0 and facts.num_classes == facts.num_tokens):
            raise ValueError(
                "inputs must be sequences of tokens [S], and labels the tokens that follow [S]; "
                f"{facts.name} has inputs {list(facts.input_shape)} of {facts.num_tokens or 'no'} tokens and "
                f"{facts.labels}"
            )
        return *facts.input_shape, facts.num_tokens

    def loss(self, name: str, outputs: Tensor, labels: Tensor) -> Tensor:
        every = nn.functional.cross_entropy(outputs.flatten(0, 1), labels.flatten(), reduction="none")
        return every.view(labels.shape).mean(dim=1)

    def answer(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(dim=2)

    def measure(self, answers: Tensor, labels: Tensor, loss: float, facts: DataFacts) -> Measured:
        accuracy = int((answers == labels).sum()) / labels.numel()
        return Measured(accuracy, {"perplexity": exp(min(loss, 700.0))})
