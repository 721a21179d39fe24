"""Single numbers that clients state beside their messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from .clients import LocalTraining, LocalWork


@dataclass(frozen=True)
class Facts:
    """The single numbers that clients stated beside their messages, as the server half is told of them.

    Rows stand in ascending client id, one for each client whose message was counted. Every number is finite;
    whether it is true nobody checks.

    Attributes:
        client_ids: Stable ids, int64.  # [K]
        num_examples: Examples behind each message, as the client claims, int64.  # [K]
        weights: Each client's share of the aggregate, at least 0, summing to 1, float64: equal shares where
            the defense tells none, and before it.  # [K]
        training: How clients train, as the algorithm schedules it.
        values: The stated numbers by name, float64.  # [K] each
        messages: What each client sent, decoded and before any clipping, in the groups' own units, float32,
            to be left as it is; None without ``sees_messages``, and before the defense.  # [K, M]
    """

    client_ids: Tensor
    num_examples: Tensor
    weights: Tensor
    training: LocalTraining
    values: Mapping[str, Tensor]
    messages: Tensor | None = None


class StatingRule(Protocol):
    """A local rule whose clients state single numbers beside their message, the names of which are ``facts``.

    They are float64, go through no codec, and are neither clipped nor noised: under a privacy mechanism there
    is no epsilon (``extra_release``). Attacks and defenses see them only where they declare ``facts``. A
    malicious client may state any finite number: ``factors`` and ``step`` bound what follows from it.

    Its ``step`` is given ``(params, aggregate, state, share, facts)``. One that declares ``sees_messages``
    finds every single message in ``facts``: what it makes of them no defense has looked at.
    """

    facts: tuple[str, ...]

    def facts_of(self, update: Tensor, work: LocalWork) -> Mapping[str, Tensor]:
        """Return what some clients state, by the names of ``facts``.  # [K] each

        Args:
            update: Their local minus the received parameters, to be left as it is.  # [K, P]
            work: What else is known of their training.
        """

    def factors(self, facts: Facts) -> Tensor:
        """Return what each client's update is multiplied by before the defense, finite and above 0, float64.

        It comes after clipping; a rule without this method leaves updates as they are.  # [K]
        """
