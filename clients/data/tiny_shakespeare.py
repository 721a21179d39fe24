"""Tiny Shakespeare: the lines of 99 speakers, one character a token. Forecast the next character.

Source: Karpathy. The Unreasonable Effectiveness of Recurrent Neural Networks. 2015 (``input.txt`` of
karpathy/char-rnn, public-domain text). A speaker as a client: McMahan, Moore, Ramage, Hampson, Agueera y
Arcas. AISTATS 2017, Section 3 (all works of Shakespeare, a client a role, the last fifth of its lines for
test). arXiv:1602.05629
"""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from ...core.errors import DataError
from .base import Array, Dataset
from .files import find_folder, missing
from .unpacking import read_bytes

FILE = "input.txt"
LARGEST = 2**21  # bytes of the file; the published one has less than 2**21
CHECKSUM = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
LONGEST = 1000  # characters that a forecast may see


@dataclass(frozen=True)
class TinyShakespeare:
    """Windows of ``context`` characters, and with each character the one that follows it.

    A natural client is a speaker, all of whose speeches stand one after the other. The first nine tenths of
    its characters are for training, the rest for test; windows of one part do not overlap. The 65 characters
    of the file are the tokens, in ascending code.

    Attributes:
        context: S, the characters of a window, between 1 and 1000.
        least_characters: Speakers with fewer are left out: at least 10 (S + 1), so that each has a window of
            both parts. By default 99 speakers are left.
    """

    context: int = 32
    least_characters: int = 2000

    def __post_init__(self) -> None:
        if not 1 <= self.context <= LONGEST:
            raise ValueError(f"context must be in [1, {LONGEST}], got {self.context}")
        if self.least_characters < 10 * (self.context + 1):
            raise ValueError(
                f"least_characters must be at least {10 * (self.context + 1)}, ten windows, got "
                f"{self.least_characters}"
            )

    def load(self) -> Dataset:
        text = read_text()
        tokens = sorted(set(text))
        spoken = {who: said for who, said in speeches(text).items() if len(said) >= self.least_characters}
        if not spoken:
            raise DataError(f"tiny_shakespeare: nobody says {self.least_characters} characters")
        parts: tuple[list[Array], list[Array]] = [], []
        groups = []
        for number, said in enumerate(spoken.values()):
            ids = np.searchsorted(np.array(tokens), np.array(list(said))).astype(np.int64)
            cut = len(ids) * 9 // 10
            for part, some in zip(parts, (ids[:cut], ids[cut:]), strict=True):
                part.append(windows(some, self.context))
            groups += [number] * len(parts[0][-1])
        train, test = (np.concatenate(part) for part in parts)  # [n, S + 1]
        return Dataset(
            name="tiny_shakespeare",
            x=np.ascontiguousarray(train[:, :-1]),
            y=np.ascontiguousarray(train[:, 1:]),
            test_x=np.ascontiguousarray(test[:, :-1]),
            test_y=np.ascontiguousarray(test[:, 1:]),
            num_classes=len(tokens),
            value_range=(0.0, len(tokens) - 1.0),
            groups=np.array(groups),
            num_tokens=len(tokens),
            task="language_model",
        )


def windows(ids: Array, context: int) -> Array:
    """Return all windows of ``context`` tokens and the one that follows; the next begins with that one.

    # [n, context + 1]
    """
    count = (len(ids) - 1) // context
    starts = context * np.arange(count)[:, None]
    found: Array = ids[starts + np.arange(context + 1)]
    return found


def speeches(text: str) -> dict[str, str]:
    """Return what each speaker says, speech after speech, by name, whoever speaks first first.

    A speech is a line with a name and a colon, and the lines below it up to an empty one.
    """
    said: dict[str, list[str]] = {}
    for block in text.strip("\n").split("\n\n"):
        who, _, words = block.partition("\n")
        if words:
            said.setdefault(who.rstrip(":"), []).append(words)
    return {who: "\n".join(words) for who, words in said.items()}


def read_text() -> str:
    """Return the file's text.

    Raises:
        DataError: The file is not there, or not the published one.
    """
    folder = find_folder("tiny_shakespeare", [FILE])
    if folder is None:
        how = "get data/tinyshakespeare/input.txt of github.com/karpathy/char-rnn"
        raise missing("tiny_shakespeare", [FILE], how)
    return _checked(folder / FILE)


def _checked(path: Path) -> str:
    content = read_bytes(path, LARGEST)
    found = sha256(content).hexdigest()
    if found != CHECKSUM:
        raise DataError(f"{path} is not the published file: its sha256 is {found}, must be {CHECKSUM}")
    return content.decode("ascii")
