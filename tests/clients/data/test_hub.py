import numpy as np
import pytest

from gauntlet.clients.data.hub import HubImages, decode
from gauntlet.core.errors import DataError


def table(pictures: list[np.ndarray], labels: list[int]):
    from datasets import Dataset, Features, Image, Value
    from PIL.Image import fromarray

    columns = {"img": [fromarray(p) for p in pictures], "label": labels}
    return Dataset.from_dict(columns, features=Features({"img": Image(), "label": Value("int64")}))


def test_grey_pictures_get_one_channel():
    pictures = [np.arange(6, dtype=np.uint8).reshape(2, 3) + i for i in range(2)]
    x, y = decode(table(pictures, [7, 3]), "img")
    assert x.dtype == np.uint8
    assert x.tolist() == [[p.tolist()] for p in pictures]
    assert y.tolist() == [7, 3]


def test_colour_pictures_get_their_channels_first():
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)  # rows of pixels of (red, green, blue)
    x, _ = decode(table([picture], [0]), "img")
    assert x.tolist() == [[[[0, 3], [6, 9]], [[1, 4], [7, 10]], [[2, 5], [8, 11]]]]


def test_offline_it_is_not_asked_and_says_what_was_looked_for_and_where(data_folder):
    hub = HubImages("nowhere", "someone/nowhere", "img", ["a.gz", "b.gz"])
    with pytest.raises(DataError, match="offline is set") as caught:
        hub.fetch("train")
    message = str(caught.value)
    assert "nowhere: no folder holds a.gz, b.gz" in message
    assert str(data_folder / "nowhere") in message
    assert "someone/nowhere" in message
    assert "\n" not in message
