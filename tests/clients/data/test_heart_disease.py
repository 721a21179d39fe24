import numpy as np
import pytest

from gauntlet.clients.data import PARTITIONS, federate
from gauntlet.clients.data.heart_disease import FILES, HeartDisease
from gauntlet.core.errors import DataError, ScenarioError
from gauntlet.server.simulation import prepare
from gauntlet.sims.scenario import load_scenario

ROW = "1,1,1,1,1,1,1,1,1,1,1,1,1,{num}\n"


@pytest.fixture
def folder(data_folder):
    """Four hospitals i of two patients k = 1, 2: age 10 i + k, ill if k = 2, cholesterol 100 i or unknown."""
    path = data_folder / "heart_disease"
    path.mkdir(parents=True)
    for i, file in enumerate(FILES):
        cells = [
            f"{10 * i + k},0,1,120,{'?' if (i + k) % 2 else 100 * i},0,0,1,0,0,0,0,0,{k - 1}" for k in (1, 2)
        ]
        (path / file).write_text("\n".join(cells) + "\n")
    return path


def test_the_four_hospitals_hold_their_known_patients(real_data):
    """UCI: 303, 294, 123 and 200 patients, 139 + 106 + 115 + 149 = 509 of them ill. A quarter is held out."""
    heart = real_data("heart_disease")
    assert np.bincount(heart.groups).tolist() == [303 - 76, 294 - 74, 123 - 31, 200 - 50]
    assert heart.y.sum() + heart.test_y.sum() == 509
    assert (heart.x.shape, heart.test_x.shape) == ((689, 13), (231, 13))


def test_training_features_have_mean_0_and_deviation_1(real_data):
    heart = real_data("heart_disease")
    assert np.abs(heart.x.mean(axis=0, dtype=np.float64)).max() < 1e-6
    assert heart.x.std(axis=0, dtype=np.float64) == pytest.approx(np.ones(13), abs=1e-5)


def test_the_hospitals_are_natural_clients(real_data):
    heart = real_data("heart_disease")
    data = federate(HeartDisease(), PARTITIONS.build("natural"), 4, 0)
    assert data.label_counts()[3, 1] == heart.y[heart.groups == 3].sum()


def test_a_missing_value_becomes_the_median_of_the_training_patients(folder):
    """By hand: one of two patients of each hospital is held out."""
    heart = HeartDisease(test_share=0.5).load()
    assert heart.groups.tolist() == [0, 1, 2, 3]
    i, k = np.arange(4), heart.y + 1
    ages = 10 * i + k
    assert heart.x[:, 0] == pytest.approx((ages - ages.mean()) / ages.std(), abs=1e-6)
    unknown = (i + k) % 2 == 1
    assert 0 < unknown.sum() < 4
    filled = np.where(unknown, np.median(100 * i[~unknown]), 100 * i)
    assert heart.x[:, 4] == pytest.approx((filled - filled.mean()) / filled.std(), abs=1e-6)
    assert np.array_equal(heart.x[:, 1], np.zeros(4))  # a constant feature is not divided by 0


def test_public_ranges_learn_nothing_of_the_patients(folder):
    """By hand: age a of 0 to 100 is a / 50 - 1, cholesterol c of 0 to 600 is c / 300 - 1, unknown 0."""
    heart, learnt = (HeartDisease(test_share=0.5, scale=scale).load() for scale in ("ranges", "training"))
    i, k = np.arange(4), heart.y + 1
    unknown = (i + k) % 2 == 1

    assert learnt.fitted
    assert heart.fitted == ()
    assert heart.x[:, 0] == pytest.approx((10 * i + k) / 50 - 1, abs=1e-6)
    assert heart.x[:, 4] == pytest.approx(np.where(unknown, 0, 100 * i / 300 - 1), abs=1e-6)


def test_a_budget_on_scales_of_the_patients_own_is_refused(real_data):
    real_data("heart_disease")
    ranges, own = (
        load_scenario("diff2-heart", {"data.scale": s, "sweep": {}}) for s in ("ranges", "training")
    )

    assert prepare(ranges.run_spec()).plan.fitted_inputs == ()
    with pytest.raises(ScenarioError, match=r"the scale of its features .* came from training examples"):
        prepare(own.run_spec())


def test_every_feature_of_every_patient_is_within_its_range(real_data):
    heart = real_data("heart_disease", scale="ranges")

    assert np.abs(heart.x).max() <= 1
    assert (np.abs(heart.x) == 1).mean(axis=0)[[0, 3, 4, 7, 9]].max() < 0.3  # measurements are not cut


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1,2,3\n", "line 1: needs 14 columns"),
        (ROW.format(num=0) + ROW.format(num="?"), "line 2: needs 14 columns with a known last one"),
        (ROW.format(num="ill"), "line 1: cells must be numbers or '\\?'"),
        ("\xff" * 5, "line 1: cells must be numbers"),
        ("", "holds 0 patients"),
        (ROW.format(num=0) + ROW.format(num="1e999"), "within 1e12 of 0"),
    ],
)
def test_a_damaged_table_is_named(folder, content, message):
    (folder / FILES[2]).write_text(content, encoding="latin-1")
    with pytest.raises(DataError, match=message) as caught:
        HeartDisease().load()
    assert str(folder / FILES[2]) in str(caught.value)


def test_a_feature_that_nobody_knows_is_refused(folder):
    for file in FILES:
        (folder / file).write_text(("1,?" + ",1" * 11 + ",0\n") * 2)
    with pytest.raises(DataError, match="column 2 is known of no training patient"):
        HeartDisease(test_share=0.5).load()


def test_a_share_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r"test_share must be in \[0.05, 0.95\], got 1"):
        HeartDisease(test_share=1)
