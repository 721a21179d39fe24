"""Rebuilt examples: pixels and words read back from the picture."""

from dataclasses import replace

import numpy as np
import pytest

from gauntlet.core.errors import ScenarioError
from gauntlet.sims.plots.gallery import reconstructions, title
from gauntlet.sims.plots.pictures import score
from gauntlet.sims.plots.rows import gallery

HALF = np.array([[[[0.0, 1.0], [1.0, 0.0]]], [[[0.0, 0.0], [0.0, 1.0]]]])  # [2, 1, 2, 2]


def pictures(figure):
    return [
        np.asarray(axes.images[0].get_array()) for part in figure.subfigs for axes in part.axes if axes.images
    ]


def words(figure):
    return [axes.get_xlabel() for part in figure.subfigs for axes in part.axes if axes.images]


def small_print(figure):
    return " ".join(figure.get_supxlabel().split())


def test_the_true_examples_stand_above_the_rebuilt_ones_with_their_scores(recorded, rebuilt):
    item = rebuilt(HALF, HALF * 0.9, psnr=[23.01, np.inf], ssim=[0.987, 1.0])

    figure, _ = reconstructions([recorded(items=[item])])

    shown = pictures(figure)
    assert np.array_equal(shown[0], HALF[0, 0])
    assert np.array_equal(shown[1], HALF[1, 0])
    assert np.allclose(shown[2], HALF[0, 0] * 0.9)
    assert np.allclose(shown[4], HALF[0, 0] * 0.1)
    assert words(figure) == [
        "label 0",
        "label 1",
        "23.0 dB\nSSIM 0.99",
        "exact\nSSIM 1.00",
        *["at most 10 %"] * 2,
    ]
    assert figure.subfigs[0].get_suptitle() == "dlg, round 0, client 3"


def test_a_difference_of_the_whole_range_is_a_hundred_percent(recorded, rebuilt):
    figure, _ = reconstructions([recorded(items=[rebuilt(HALF, 1 - HALF, psnr=[0.0, 0.0], ssim=[0.0, 0.0])])])
    assert words(figure)[4:] == ["at most 100 %"] * 2


def test_the_numbers_behind_it_have_one_row_an_example(recorded, rebuilt):
    item = rebuilt(HALF, HALF, psnr=[20.0, 10.0], ssim=[0.9, 0.1], round=4, client_id=7)
    _, table = reconstructions([recorded("x", items=[item])])
    assert table[
        ["label", "attack", "round", "client_id", "example", "psnr", "ssim"]
    ].to_numpy().tolist() == [
        ["x", "dlg", 4, 7, 0, 20.0, 0.9],
        ["x", "dlg", 4, 7, 1, 10.0, 0.1],
    ]


def test_a_flat_picture_gives_the_scale(recorded, rebuilt):
    """By hand: mean square distance to the mean is 1/4 and 3/16, so PSNR is 6.0206 and 7.2700 dB."""
    item = rebuilt(HALF, HALF, psnr=[20.0, 10.0], ssim=[0.9, 0.1])
    figure, table = reconstructions([recorded(items=[item])])
    assert table["flat_psnr"].tolist() == pytest.approx([6.0206, 7.2700], abs=1e-4)
    assert "scores 6.0 to 7.3 dB" in figure.get_supxlabel()


def test_a_flat_picture_in_colour_takes_the_mean_of_each_channel(recorded, rebuilt):
    flat = np.stack([np.full((2, 2), v) for v in (0.1, 0.5, 0.9)])[None]
    flat[0, 0, 0, 0] += 0.4  # variance of one channel: 0.03; of the picture: 0.01
    _, table = reconstructions([recorded(items=[rebuilt(flat, flat, [9.0], [0.5])])])
    assert table["flat_psnr"].tolist() == pytest.approx([20.0])


def test_colour_examples_are_drawn_in_colour(recorded, rebuilt):
    red = np.zeros((1, 3, 2, 2))
    red[0, 0] = 1.0
    shown = pictures(reconstructions([recorded(items=[rebuilt(red, red * 0, [4.77], [0.1])])])[0])
    assert shown[0].shape == (2, 2, 3)
    assert shown[0][0, 0].tolist() == [1, 0, 0]
    assert shown[1][0, 0].tolist() == [0, 0, 0]


def test_values_beyond_0_to_1_are_drawn_on_the_scale_of_the_truth(recorded, rebuilt):
    item = rebuilt([[[-1.0, 3.0]]], [[[1.0, 9.0]]], psnr=[5.0], ssim=[np.nan])
    true, guess, difference = pictures(reconstructions([recorded(items=[item])])[0])
    assert true.tolist() == [[0.0, 1.0]]
    assert guess.tolist() == [[0.5, 1.0]]  # (1 + 1) / 4, and 9 is clipped to the truth's largest
    assert difference.tolist() == [[0.5, 1.0]]  # 2 / 4; 6 / 4 is clipped


def test_rows_of_features_are_drawn_as_strips(recorded, rebuilt):
    item = rebuilt([[0.0, 0.5, 1.0]], [[0.0, 0.5, 0.5]], psnr=[10.8], ssim=[np.nan])
    figure, _ = reconstructions([recorded(items=[item])])
    assert pictures(figure)[0].tolist() == [[0.0, 0.5, 1.0]]
    assert words(figure)[1] == "10.8 dB"


def test_a_score_is_written_without_ssim_where_there_is_none():
    assert [score(12.34, np.nan), score(np.nan, np.nan)] == ["12.3 dB", "not finite"]


def test_the_first_messages_and_examples_are_drawn_whatever_their_scores(recorded, rebuilt):
    items = [rebuilt(HALF, HALF, [p, 50.0], [0.1, 1.0], client_id=i) for i, p in enumerate([5.0, 40.0, 30.0])]

    figure, table = reconstructions([recorded(items=items)], most_messages=2, most_examples=1)

    assert table[["client_id", "psnr"]].to_numpy().tolist() == [[0, 5.0], [1, 40.0]]
    assert len(pictures(figure)) == 6
    assert small_print(figure).endswith(
        "Drawn: the first 2 of 3 messages, and the first 1 of up to 2 examples of a message; "
        "all are in 'reconstructions' and 'attacked'."
    )


def test_the_small_print_says_what_is_left_out_and_nothing_where_all_is_there(recorded, rebuilt):
    """By default six messages and eight examples of each."""
    large, small = np.zeros((9, 1, 2, 2)), np.zeros((8, 1, 2, 2))
    many = rebuilt(large, large, [1.0] * 9, [0.0] * 9)
    few = rebuilt(small, small, [1.0] * 8, [0.0] * 8)

    one = rebuilt(large[:1], large[:1], [1.0], [0.0])

    for items in ([one] * 6, [few]):
        assert "Drawn" not in small_print(reconstructions([recorded(items=items)])[0])
    assert "the first 6 of 7 messages; all are" in small_print(
        reconstructions([recorded(items=[one] * 7)])[0]
    )
    said = small_print(reconstructions([recorded(items=[few, many])])[0])
    assert "Drawn: the first 8 of up to 9 examples of a message; all" in said


def test_with_several_labels_each_message_names_its_own(recorded, rebuilt):
    item = rebuilt(HALF, HALF, [1.0, 2.0], [0.1, 0.2])
    figure, _ = reconstructions([recorded("plain", items=[item]), recorded("noised", items=[item])])
    assert [part.get_suptitle() for part in figure.subfigs] == [
        "plain: dlg, round 0, client 3",
        "noised: dlg, round 0, client 3",
    ]


def test_with_several_seeds_each_message_names_its_own(recorded, rebuilt):
    item = rebuilt(HALF, HALF, [1.0, 2.0], [0.1, 0.2])
    runs = [recorded("a", 0, items=[item]), recorded("a", 1, items=[item]), recorded("b", 0, items=[item])]

    figure, table = reconstructions(runs)

    assert [part.get_suptitle() for part in figure.subfigs] == [
        "a, seed 0: dlg, round 0, client 3",
        "a, seed 1: dlg, round 0, client 3",
        "b: dlg, round 0, client 3",
    ]
    assert reconstructions(runs[:2])[0].subfigs[1].get_suptitle() == "seed 1: dlg, round 0, client 3"
    assert table["seed"].tolist() == [0, 0, 1, 1, 0, 0]


def test_runs_that_rebuilt_nothing_are_refused_and_told_what_would_help(recorded):
    with pytest.raises(ScenarioError, match="nothing was rebuilt in these runs; a run that observes"):
        reconstructions([recorded()])


def test_an_example_of_another_shape_is_refused(recorded, rebuilt):
    with pytest.raises(ScenarioError, match=r"shape \(2, 4, 4\) cannot be drawn; allowed"):
        reconstructions(
            [recorded(items=[rebuilt(np.zeros((1, 2, 4, 4)), np.zeros((1, 2, 4, 4)), [1.0], [0.0])])]
        )


def test_an_empty_gallery_cannot_be_asked_for(recorded):
    with pytest.raises(ScenarioError, match="at least 1 message and 1 example, got 0 and 8"):
        reconstructions([recorded()], most_messages=0)


def test_two_attackers_of_one_message_are_told_apart_by_what_differs(recorded, rebuilt):
    def by(attack, **settings):
        return rebuilt(HALF, HALF, [1.0, 2.0], [0.1, 0.2], attack=attack, settings=settings)

    items = [
        by("dlg", lr=1.0, restarts=2, labels_known=False),
        by("dlg", lr=1.0, labels_known=True),
        by("idlg", lr=1.0, labels_known=False),
    ]
    figure, table = reconstructions([recorded(items=items)])

    assert [part.get_suptitle() for part in figure.subfigs] == [
        "dlg (restarts = 2, labels_known = false), round 0, client 3",
        "dlg (restarts = default, labels_known = true), round 0, client 3",
        "idlg, round 0, client 3",
    ]
    assert table["settings"].tolist()[::2] == [
        "lr = 1.0, restarts = 2, labels_known = false",
        "lr = 1.0, labels_known = true",
        "lr = 1.0, labels_known = false",
    ]


def test_settings_in_which_whole_runs_differ_are_left_to_their_labels(recorded, rebuilt):
    runs = [
        recorded(label, items=[rebuilt(HALF, HALF, [1.0, 2.0], [0.1, 0.2], settings={"lr": lr})])
        for label, lr in (("slow", 0.1), ("fast", 1.0))
    ]
    figure, _ = reconstructions(runs)
    assert [part.get_suptitle() for part in figure.subfigs] == [
        "slow: dlg, round 0, client 3",
        "fast: dlg, round 0, client 3",
    ]


def test_known_labels_are_named_where_one_attacker_is_alone(recorded, rebuilt):
    item = rebuilt(HALF, HALF, [1.0, 2.0], [0.1, 0.2], settings={"lr": 1.0, "labels_known": True})
    figure, _ = reconstructions([recorded(items=[item])])
    assert figure.subfigs[0].get_suptitle() == "dlg (labels_known = true), round 0, client 3"


def test_how_much_the_attack_was_told_stands_in_the_title_and_in_the_table(rebuilt, recorded):
    item = rebuilt(HALF, HALF, psnr=[20.0, 10.0], ssim=[0.9, 0.1], sok="C")

    assert title(item) == "dlg, round 0, client 3, SoK C"
    assert set(reconstructions([recorded(items=[item])])[1]["sok"]) == {"C"}
    assert title(rebuilt(HALF, HALF, psnr=[20.0, 10.0], ssim=[0.9, 0.1])) == "dlg, round 0, client 3"


def test_without_the_truth_what_was_rebuilt_is_drawn_on_its_own_scale_and_nothing_is_compared(
    recorded, rebuilt
):
    item = rebuilt(np.full((1, 1, 2), np.nan), [[[-1.0, 3.0]]], psnr=[np.nan], ssim=[np.nan])
    figure, table = reconstructions([recorded(items=[item])])

    true, guess = pictures(figure)
    assert np.isnan(true).all()
    assert guess.tolist() == [[0.0, 1.0]]
    assert words(figure) == ["not known", ""]
    assert table[["psnr", "flat_psnr"]].isna().all(axis=None)


def test_tokens_differ_where_they_are_wrong(recorded, rebuilt):
    item = rebuilt([[3, 5]], [[3, 4]], psnr=[np.nan], ssim=[np.nan], tokens=np.array([0.5]))
    whole = replace(item, truth=item.truth.astype(int), rebuilt=item.rebuilt.astype(int))
    assert pictures(reconstructions([recorded(items=[whole])])[0])[2].tolist() == [[0.0, 1.0]]


def test_below_tokens_stands_the_share_of_positions_that_are_right(recorded, rebuilt):
    item = rebuilt([[3, 5]], [[3, 4]], psnr=[np.nan], ssim=[np.nan], tokens=np.array([0.5]))
    figure, table = gallery([recorded(items=[item])])
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "50 % right"]
    assert "PSNR" not in small_print(figure)
    assert table["tokens"].tolist() == [0.5]
