"""Pictures within the page are PNG files that another library reads."""

import io
from base64 import b64decode

import matplotlib.image
import numpy as np
import pytest

from gauntlet.sims.report.png import LARGEST, data_uri, encoded


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (1, 1)])
def test_matplotlib_reads_the_same_pixels(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    back = matplotlib.image.imread(io.BytesIO(encoded(pixels)))

    assert np.array_equal((back * 255).round().astype(np.uint8), pixels)


@pytest.mark.parametrize("shape", [(28, 28), (1, 28, 28), (3, 32, 32), (13,), (2, 3, 4, 5), (4, 500, 300)])
def test_every_shape_of_example_becomes_a_small_picture(shape):
    uri = data_uri(np.full(shape, np.nan))

    kind, _, body = uri.partition(",")
    assert kind == "data:image/png;base64"
    back = matplotlib.image.imread(io.BytesIO(b64decode(body)))
    assert max(back.shape[:2]) <= LARGEST
    assert back[..., 0].max() == 0 if back.ndim == 3 else back.max() == 0
