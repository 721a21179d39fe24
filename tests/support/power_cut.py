"""What a disk may hold after a power cut: a recorder of writes, and a replay that loses what was not synced.

The recorder stands under ``os``: every call goes through, and is noted. The replay knows what POSIX promises:
content is kept once its file was synced, a name once its folder was, anything else in any part.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

_CALLS = ("open", "close", "pwrite", "ftruncate", "fsync", "replace", "unlink", "mkdir", "rmdir")
Keep = Callable[[int, "Step"], bool]


@dataclass(frozen=True)
class Step:
    """One call that changed the disk, or synced it.

    Attributes:
        kind: ``"data"`` of a file, ``"name"`` in a folder, or ``"sync"`` of either.
        of: The file's or the folder's number.
        do: What it does to a file's bytes, or to a folder's names.
    """

    kind: str
    of: int
    do: Callable[[bytearray], None] | dict[str, int | None] | None = None


class Recorder:
    """Note what is done to the disk below ``root``."""

    def __init__(self, root: Path) -> None:
        self.root, self.steps = root, list[Step]()
        self._numbers = {root: 0}  # of files and folders, by where they are now
        self._folders = {0}
        self._opened: dict[int, int] = {}
        self._next = 0

    @contextmanager
    def recording(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in _CALLS:
                patch.setattr(os, name, self._noting(getattr(self, f"_{name}"), getattr(os, name)))
            patch.setattr(os, "rename", os.replace)
            yield

    def _noting(self, note, real):
        def call(*arguments, **options):
            before = self._before(arguments)
            found = real(*arguments, **options)
            note(found, before, *arguments)
            return found

        return call

    def _before(self, arguments) -> bool:
        first = arguments[0]
        return isinstance(first, (str, os.PathLike)) and os.path.exists(first)

    def _inside(self, path) -> bool:
        return isinstance(path, (str, os.PathLike)) and self.root in Path(path).parents

    def _new(self, path: Path) -> int:
        self._next += 1
        self._numbers[path] = self._next
        self.steps.append(Step("name", self._numbers[path.parent], {path.name: self._next}))
        return self._next

    def _open(self, found, existed, path, flags, *_):
        if not (self._inside(path) or Path(path) == self.root):
            return
        path = Path(path)
        if path.is_dir():
            self._opened[found] = self._numbers[path]
            return
        number = self._numbers[path] if existed else self._new(path)
        self._opened[found] = number
        if existed and flags & os.O_TRUNC:
            self.steps.append(Step("data", number, lambda content: content.clear()))

    def _close(self, found, existed, file):
        self._opened.pop(file, None)

    def _pwrite(self, written, existed, file, content, at):
        if file in self._opened:
            self.steps.append(Step("data", self._opened[file], putting(bytes(content[:written]), at)))

    def _ftruncate(self, found, existed, file, size):
        if file in self._opened:
            self.steps.append(Step("data", self._opened[file], lambda c: c.__delitem__(slice(size, None))))

    def _fsync(self, found, existed, file):
        if file in self._opened:
            self.steps.append(Step("sync", self._opened[file]))

    def _replace(self, found, existed, source, target):
        if self._inside(source):
            source, target = Path(source), Path(target)
            assert source.parent == target.parent
            number = self._numbers[source]
            moved = [path for path in self._numbers if source in (path, *path.parents)]
            for path in moved:
                self._numbers[target / path.relative_to(source)] = self._numbers.pop(path)
            change = {target.name: number, source.name: None}
            self.steps.append(Step("name", self._numbers[source.parent], change))

    def _unlink(self, found, existed, path, *_):
        if self._inside(path):
            path = Path(path)
            self._numbers.pop(path)
            self.steps.append(Step("name", self._numbers[path.parent], {path.name: None}))

    _rmdir = _unlink

    def _mkdir(self, found, existed, path, *_):
        if self._inside(path):
            self._folders.add(self._new(Path(path)))

    def image(self, until: int, keep: Keep) -> dict[str, bytes | None]:
        """Return what the disk holds after ``until`` steps: content by path, None for a folder.

        ``keep`` says of a step that was not synced whether the disk has it all the same.
        """
        names: dict[int, dict[str, int | None]] = {}
        content: dict[int, bytearray] = {}
        synced = set[int]()
        kept = []
        for at in reversed(range(until)):  # a sync keeps what came before it
            step = self.steps[at]
            if step.kind == "sync":
                synced.add(step.of)
            elif step.of in synced or keep(at, step):
                kept.append(step)
        for step in reversed(kept):
            if step.kind == "data":
                step.do(content.setdefault(step.of, bytearray()))
                continue
            for name, number in step.do.items():
                names.setdefault(step.of, {})[name] = number
        return {str(p.relative_to(self.root)): c for p, c in self._walk(0, self.root, names, content)}

    def _walk(self, folder, place, names, content):
        for name, number in sorted(names.get(folder, {}).items()):
            if number in self._folders:
                yield place / name, None
                yield from self._walk(number, place / name, names, content)
            elif number is not None:
                yield place / name, bytes(content.get(number, b""))

    def images(self, steps=None, lucky: int = 2) -> Iterator[tuple[str, dict[str, bytes | None]]]:
        """Yield every different disk after a power cut, with a word on when and how it was cut."""
        seen = set[tuple]()
        for until in steps if steps is not None else range(1, len(self.steps) + 1):
            for how, keep in ways(until, lucky).items():
                image = self.image(until, keep)
                key = tuple(sorted(image.items(), key=str))
                if key not in seen:
                    seen.add(key)
                    yield f"step {until}, kept: {how}", image


def ways(until: int, lucky: int) -> dict[str, Keep]:
    """Return what may be kept of what was not synced: nothing, names, content, all (a kill), by chance."""
    found: dict[str, Keep] = {
        "nothing": lambda at, step: False,
        "names": lambda at, step: step.kind == "name",
        "content": lambda at, step: step.kind == "data",
        "all": lambda at, step: True,
    }
    for number in range(lucky):
        chance = Random(1000 * until + number)
        draws = [chance.random() < 0.5 for _ in range(until)]
        found[f"by chance {number}"] = lambda at, step, draws=draws: draws[at]
    return found


def putting(written: bytes, at: int) -> Callable[[bytearray], None]:
    def put(content: bytearray) -> None:
        content.extend(bytes(max(0, at - len(content))))  # what lies before was lost: zeros
        content[at : at + len(written)] = written

    return put


def lay(image: dict[str, bytes | None], root: Path) -> None:
    """Write an image to a folder."""
    root.mkdir()
    for name, content in image.items():
        if content is None:
            (root / name).mkdir()
        else:
            (root / name).write_bytes(content)
