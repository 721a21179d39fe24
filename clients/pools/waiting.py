"""The blocks of one round that nobody has done yet, shared by the threads that feed the workers."""

from collections import deque
from collections.abc import Iterable
from threading import Condition


class WaitingBlocks:
    """Blocks that wait to be taken, or were taken and may come back with the loss of a worker."""

    def __init__(self, number: int) -> None:
        """Let the blocks 0 to ``number`` - 1 wait."""
        self._waiting, self._undone = deque(range(number)), number
        self._changed = Condition()

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    @property
    def undone(self) -> bool:
        """Whether blocks wait or are being done."""
        return self._undone > 0

    def take(self) -> int | None:
        """Return the next block, or None where none waits."""
        with self._changed:
            return self._waiting.popleft() if self._waiting else None

    def done(self) -> None:
        """Count a block as done."""
        with self._changed:
            self._undone -= 1
            self._changed.notify_all()

    def give_back(self, blocks: Iterable[int]) -> None:
        """Let blocks of a lost worker wait again, before all others, in their order."""
        with self._changed:
            self._waiting.extendleft(reversed(list(blocks)))
            self._changed.notify_all()

    def stop(self) -> None:
        """Let nobody take or expect another block."""
        with self._changed:
            self._waiting.clear()
            self._undone = 0
            self._changed.notify_all()

    def pause(self) -> None:
        """Return once a block waits, or all are done: another worker's may still come back."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._undone <= 0)
