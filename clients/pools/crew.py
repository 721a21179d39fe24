"""Workers that outlive a run: the next run of the process takes them over, instead of starting its own.

A worker's start, a process that loads torch, takes seconds of a core; many a run takes less. So a worker
whose run ended well rests, with nothing of that run in its hands, until another run asks for one; it ends
with the process that hired it. That holds on a Ray of our own alone, where workers count as no CPU, so that
those at rest are in nobody's way, and without GPUs, whose memory they would keep. Elsewhere a worker ends
with its run.
"""

from dataclasses import dataclass
from threading import Lock
from typing import Any

from .local_ray import our_own

_resting: dict[tuple[str, type], list[Any]] = {}
_lock = Lock()


@dataclass(frozen=True)
class Crew:
    """Where a pool gets its workers from.

    Attributes:
        kind: The class of the transport's actors.
        ingredients: What ``worker.Worker`` takes.
        gpus: GPUs a worker.
    """

    kind: type
    ingredients: tuple[Any, ...]
    gpus: float = 0.0

    def hire(self, new: bool = False) -> tuple[Any, Any]:
        """Return a worker, one at rest or a new one, and what says that it has begun: to be handed to its
        first task, which then fails as its beginning did.
        """
        actor = None if new else self._wake()
        if actor is None:
            import ray

            cpus = 1 if self._place() is None else 0
            actor = ray.remote(num_cpus=cpus, num_gpus=self.gpus)(self.kind).remote()
        return actor, actor.begin.remote(*self.ingredients)

    def rest(self, actor: Any) -> None:
        """Let a worker rest that has done all that it was asked for; where none rests, end it."""
        place = self._place()
        if place is None:
            return self.dismiss(actor)
        actor.rest.remote()
        with _lock:
            for gone in [key for key in _resting if key[0] != place]:
                del _resting[gone]
            _resting.setdefault((place, self.kind), []).append(actor)

    def dismiss(self, actor: Any) -> None:
        """End a worker."""
        import ray

        ray.kill(actor)

    def _wake(self) -> Any:
        place = self._place()
        with _lock:
            there = _resting.get((place, self.kind)) if place else None
            return there.pop() if there else None

    def _place(self) -> str | None:
        """Return which Ray these workers may rest on; None where they end with their run."""
        return our_own() if self.gpus == 0 else None
