"""The published counts, and windows cut from them by hand."""

from dataclasses import replace

import numpy as np
import pytest

from gauntlet.clients.data.federate import federate
from gauntlet.clients.data.files import find_folder
from gauntlet.clients.data.iid import Iid
from gauntlet.clients.data.mobility import FILE, REGIONS, TRAIN_ROWS, Mobility, read_records
from gauntlet.clients.data.natural import Natural
from gauntlet.clients.data.shards import Shards
from gauntlet.core.errors import DataError, ScenarioError


@pytest.fixture(scope="module")
def mobility(real_data):
    return real_data("mobility")


def test_windows_and_split_have_the_published_sizes(mobility):
    """3120 rows give 3114 windows of 6 half hours; 336 rows are for test."""
    assert mobility.x.shape == (3114, 6, 10)
    assert mobility.y.shape == (3114, 6)
    assert mobility.test_x.shape == (336, 6, 10)
    assert mobility.test_y.shape == (336, 6)
    assert mobility.targets.names == REGIONS


def test_a_window_is_six_half_hours_and_the_target_the_seventh(mobility):
    _, counts = read_records()

    assert np.array_equal(mobility.x[100, :, :6], counts[100:106])
    assert np.array_equal(mobility.y[100], counts[106])
    assert np.array_equal(mobility.test_x[0, :, :6], counts[TRAIN_ROWS - 6 : TRAIN_ROWS])
    assert np.array_equal(mobility.test_y[-1], counts[-1])


def test_the_clock_is_that_of_the_half_hour(mobility):
    """The first target is that of 3:00: the last seen half hour, 2:30, is 2.5 / 24 of a turn."""
    day, week = 2 * np.pi * 2.5 / 24, 2 * np.pi * 2.5 / 24 / 7

    assert np.allclose(mobility.x[0, -1, 6:], [np.sin(day), np.cos(day), np.sin(week), np.cos(week)])
    assert Mobility(clock=False).load().x.shape == (3114, 6, 6)


def test_the_notebooks_week_has_thirty_days(real_data):
    week = real_data("mobility", week_days=30.0)

    assert np.allclose(week.x[0, -1, 8], np.sin(2 * np.pi * 2.5 / 24 / 30))


def test_the_regions_have_the_published_means(mobility):
    """Specification: 116777, 14308, 16275, 11759, 4167, 11559."""
    _, counts = read_records()

    assert np.round(counts.mean(axis=0)).tolist() == [116777, 14308, 16275, 11759, 4167, 11559]


def test_one_client_holds_everything_in_the_order_of_time(mobility):
    data = federate(Mobility(), Iid(), 1, seed=3)
    x, y = data.client(0)

    assert np.array_equal(x.numpy(), mobility.x)
    assert np.array_equal(y.numpy(), mobility.y)


def test_a_day_is_a_client(mobility):
    """65 days are for training; the first has lost six windows, the others begin with the eve's counts."""
    data = federate(Mobility(), Natural(), 65, seed=0)

    assert [data.num_examples(i) for i in (0, 1, 64)] == [42, 48, 48]
    assert np.array_equal(data.client(1)[1].numpy(), mobility.y[42:90])


def test_a_region_is_a_client_that_knows_its_own_counts_alone(mobility):
    data = federate(Mobility(clients="region"), Natural(), 6, seed=0)
    x, y = data.client(2)

    assert x.shape == (3114, 6, 5)
    assert np.array_equal(x[:, :, 0].numpy(), mobility.x[:, :, 2])
    assert np.array_equal(x[:, :, 1:].numpy(), mobility.x[:, :, 6:])
    assert np.array_equal(y[:, 0].numpy(), mobility.y[:, 2])
    assert np.array_equal(data.test()[1][2 * 336 : 3 * 336, 0].numpy(), mobility.test_y[:, 2])
    assert np.array_equal(data.targets.test_groups, np.repeat(np.arange(6), 336))


def test_perturbed_counts_reach_every_window_that_a_cell_is_in_and_no_test_window(mobility):
    """A cell is one target and six lags: the sum of what a noise of 1 in one cell moves is 7."""

    def noised(records):
        records[1000, 3] += 1
        return records

    other = Mobility().load_perturbed(noised)

    assert np.abs(other.x - mobility.x).sum() + np.abs(other.y - mobility.y).sum() == 7
    assert other.y[994, 3] == mobility.y[994, 3] + 1
    assert np.array_equal(other.test_x, mobility.test_x)


def test_the_eve_of_the_test_days_is_not_perturbed(mobility):
    other = Mobility().load_perturbed(lambda records: records * 0)

    assert np.array_equal(other.test_x, mobility.test_x)


def test_another_file_is_refused(data_folder):
    folder = data_folder / "mobility"
    folder.mkdir(parents=True)
    (folder / FILE).write_text("Date,Hour\n")

    with pytest.raises(DataError, match="is not the published file: its sha256 is "):
        Mobility().load()


def test_without_the_file_the_message_says_how_to_get_it(data_folder):
    if find_folder("mobility", [FILE]):
        pytest.skip("the file lies beside the checkout")

    with pytest.raises(DataError, match=r"no folder holds ML_final_df_real.csv .*hharcolezi"):
        Mobility().load()


def test_a_partition_by_labels_is_refused(mobility):
    with pytest.raises(
        ScenarioError, match="mobility has real-valued targets, and partition Shards deals by"
    ):
        federate(Mobility(), Shards(), 6, seed=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lag": 0}, r"lag must be in \[1, 336\], got 0"),
        ({"clients": "hour"}, "clients must be one of day, region; got 'hour'"),
        ({"week_days": 0.0}, "week_days must be above 0 and finite, got 0.0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Mobility(**options)


def test_targets_that_do_not_fit_are_refused(mobility):
    with pytest.raises(DataError, match=r"training targets must be finite float32 \[n, 6\]"):
        replace(mobility, y=mobility.y[:, :5])
    with pytest.raises(DataError, match="num_classes must be 0 with targets, got 6"):
        replace(mobility, num_classes=6)


def test_there_are_no_labels_to_count(mobility):
    with pytest.raises(DataError, match="mobility has real-valued targets and no labels to count"):
        federate(Mobility(), Natural(), 65, seed=0).label_counts()
