import gzip

import numpy as np
import pytest

from gauntlet.clients.data.adult import Adult
from gauntlet.core.errors import DataError

ROW = "{age}, {work}, 1, HS-grad, 9, Divorced, Sales, Wife, White, Male, {gain}, 0, 40, Cuba, {income}\n"


@pytest.fixture
def folder(data_folder):
    """Three people to train, two to test: a category of its own in the test file, and one missing."""
    path = data_folder / "adult"
    path.mkdir(parents=True)
    train = [("20", "Private", "0", "<=50K"), ("40", "Federal-gov", "0", ">50K"), ("60", "?", "999", "<=50K")]
    test = [("30", "Never-worked", "0", "<=50K."), ("40", "Private", "0", ">50K.")]
    for name, rows, head in (("adult.data.gz", train, ""), ("adult.test.gz", test, "|1x3 Cross validator\n")):
        cells = (dict(zip(("age", "work", "gain", "income"), row, strict=True)) for row in rows)
        (path / name).write_bytes(
            gzip.compress((head + "".join(ROW.format(**c) for c in cells) + "\n").encode())
        )
    return path


def test_people_are_those_of_the_repository(real_data):
    """UCI: 32 561 and 16 281 people, of whom 7841 and 3846 earn more than 50 000."""
    adult = real_data("adult")
    assert (adult.x.shape, adult.test_x.shape) == ((32561, 88), (16281, 88))
    assert (int(adult.y.sum()), int(adult.test_y.sum())) == (7841, 3846)
    assert adult.x[:, :5].mean(axis=0, dtype=np.float64) == pytest.approx(np.zeros(5), abs=1e-6)
    assert adult.x[:, :5].std(axis=0, dtype=np.float64) == pytest.approx(np.ones(5), abs=1e-5)
    assert set(np.unique(adult.x[:, 5:])) == {0.0, 1.0}


def test_numbers_and_categories_are_those_of_the_row(folder):
    """By hand: ages 20, 40, 60 (mean 40, deviation sqrt(800/3)); log(1 + gain) 0, 0, log 1000."""
    adult = Adult().load()
    assert adult.x[:, 0] == pytest.approx(np.array([-20, 0, 20]) / np.sqrt(800 / 3), abs=1e-6)
    gain = np.array([0, 0, np.log(1000)])
    assert adult.x[:, 2] == pytest.approx((gain - gain.mean()) / gain.std(), abs=1e-6)
    assert adult.x[:, 5:7].tolist() == [[0, 1], [1, 0], [0, 0]]  # Federal-gov, Private; ? is neither
    assert adult.test_x[:, 5:7].tolist() == [[0, 0], [0, 1]]  # one that nobody trained with is neither
    assert (adult.y.tolist(), adult.test_y.tolist()) == ([0, 1, 0], [0, 1])


def test_public_ranges_learn_nothing_of_the_rows(folder):
    """By hand: age 20 of 17 to 90 is -67/73; Federal-gov is the first of eight documented work classes."""
    adult, learnt = Adult(scale="ranges").load(), Adult().load()

    assert learnt.fitted
    assert adult.fitted == ()
    assert adult.x[:, 0] == pytest.approx(np.array([-67, -27, 13]) / 73, abs=1e-6)
    assert adult.x.shape == (3, 5 + 83)
    assert adult.x[:, 5:13].argmax(axis=1).tolist() == [3, 0, 0]
    assert adult.x[2, 5:13].sum() == 0  # a missing one
    assert adult.test_x[0, 5:13].tolist() == [0, 0, 1, 0, 0, 0, 0, 0]  # Never-worked is known, too


def test_the_documented_categories_are_those_of_the_people(real_data):
    """So that indicators are the same, whatever the scale."""
    assert np.array_equal(real_data("adult").x[:, 5:], real_data("adult", scale="ranges").x[:, 5:])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1, 2\n", "needs 15 columns and an income"),
        (ROW.format(age="old", work="Private", gain="0", income=">50K") * 2, "hold numbers"),
        (ROW.format(age="20", work="Private", gain="0", income="50K") * 2, "line 1: needs 15 columns"),
        ("\n", "holds 0 people"),
        *(
            (ROW.format(age=age, work="Private", gain=gain, income=">50K") * 2, "between 0 and 1e12")
            for age, gain in (("nan", "0"), ("1e999", "0"), ("20", "-2"), ("1e300", "0"))
        ),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(folder, content, message):
    (folder / "adult.data.gz").write_bytes(gzip.compress(content.encode()))
    with pytest.raises(DataError, match=message):
        Adult().load()
