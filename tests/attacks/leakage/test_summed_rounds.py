"""Rounds of one client together, as error feedback adds them up.

Oracles: the sum worked out by hand, and error feedback's own frames of an update that stays the same.
"""

import copy
from dataclasses import replace

import pytest
import torch

from gauntlet.attacks.leakage.parts.metrics import psnr
from gauntlet.attacks.leakage.parts.requirements import knows_codec
from gauntlet.attacks.leakage.summed_rounds import SummedRounds, carried_on
from gauntlet.clients.codecs import CODECS
from gauntlet.clients.codecs.parts.wire import decode_frame, encode_cohort, mismatch_of, support_of
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import PluginError
from gauntlet.core.frames import Envelope
from gauntlet.core.seeds import generator
from gauntlet.core.updates import Updates


def coded(observations, decay=1.0, density=0.02):
    """Return a client's messages as they leave error feedback around top-k, each counted."""
    codec = CODECS.build("error_feedback", {"codec": {"name": "topk", "density": density}, "decay": decay})
    state, one, found = codec.init(), torch.tensor([0]), []
    for round_, seen in enumerate(observations):
        streams = CodecStreams(0, round_)
        updates = Updates(seen.update[None], one, one + 1)
        (frame,), state = encode_cohort(codec, updates, seen.layout, 9, state, streams)
        state = codec.settle(state, [0])
        envelope = Envelope(codec.codec_id, round_, 0, 9)
        decoded = decode_frame(codec, frame, envelope, seen.layout, streams.context(0))
        support = support_of(codec, frame, envelope, seen.layout)
        mismatch = mismatch_of(codec, frame, envelope, seen.layout, streams.context(0))
        told = replace(seen.knowledge, codec="error_feedback")
        found.append(
            replace(
                seen,
                round=round_,
                update=decoded,
                support=support,
                mismatch=mismatch,
                carries=decay,
                knowledge=told,
            )
        )
    return found, state["residuals"][0]


def visits(digits, mlp, observe, rounds, lr=0.1, place=7):
    """Return what one client sends in several rounds, on one digit, at the models that follow from it."""
    x, y = (part[place : place + 1] for part in digits)
    model, found = mlp(torch.nn.GELU), []
    for _ in range(rounds):
        found.append(observe(model, x, y, lr=lr))
        model = copy.deepcopy(model)
        with torch.no_grad():
            for name, value in found[-1].layout.views(found[-1].update).items():
                model.get_parameter(name).add_(value)
    return found, x


def test_what_each_left_out_cancels_with_what_the_next_carries():
    """By hand: beta = 1/2 over three rounds; and where a round carried nothing, nothing before it counts."""
    assert carried_on([0.5, 0.5, 0.5]) == [0.25, 0.5, 1.0]
    assert carried_on([1.0, 1.0]) == [1.0, 1.0]
    assert carried_on([0.5, 0.0, 0.5]) == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_only_the_last_residual_is_missing_from_the_sum(digits, mlp, observe, decay):
    """sum beta^(T - t) d_t + e_T = sum beta^(T - t) u_t, on error feedback's own frames."""
    plain, _ = visits(digits, mlp, observe, 5)
    sent, residual = coded(plain, decay)
    weights = carried_on([o.carries for o in sent])

    found = sum(w * o.update for w, o in zip(weights, sent, strict=True)) + residual
    wanted = sum(w * o.update for w, o in zip(weights, plain, strict=True))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)


def test_at_a_small_step_the_mean_message_tends_to_the_uncoded_update(digits, mlp, observe):
    """The update stays the same, so that the mean over T rounds is off by the last residual over T."""
    plain, _ = visits(digits, mlp, observe, 1, lr=1e-3)
    wanted, errors = plain[0].update, []
    for rounds in (1, 10, 100):
        sent, _ = coded(plain * rounds, density=0.05)
        mean = sum(o.update for o in sent) / rounds
        errors.append(float((mean - wanted).norm() / wanted.norm()))

    assert errors[0] > 0.3
    assert errors[2] < errors[1] / 3 < errors[0] / 3
    assert errors[2] < 0.1


def test_rounds_together_show_what_no_single_message_does(digits, mlp, observe):
    """Digits, top-k 2 % under error feedback, lr 0.1, four rounds of one digit, the label read: measured."""
    plain, x = visits(digits, mlp, observe, 4)
    sent, _ = coded(plain)
    unsized = [replace(o, knowledge=replace(o.knowledge, lr=None)) for o in sent]

    def rebuilt(seen, **options):
        return SummedRounds(max_iterations=80, **options).reconstruct(seen, generator(0, "attack"))

    found = {name: rebuilt(sent, objective=name) for name in ("auto", "sum", "plain")}
    score = {name: float(psnr(made.x, x)) for name, made in found.items()}

    assert score["auto"] > score["sum"] + 5, score
    assert score["sum"] > score["plain"] + 3, score
    assert torch.equal(rebuilt(unsized).x, found["sum"].x)  # no step size: no residual can be followed
    assert found["sum"].details["rounds"] == 4
    assert found["sum"].details["named"] > 2 * float(sent[0].support.float().mean())


def test_what_the_truth_had_to_encode_fits_every_frame(digits, mlp, observe):
    """Top-k names the largest of what was to be encoded, and these alone: nothing else fits worse than 0."""
    plain, _ = visits(digits, mlp, observe, 4)
    sent, _ = coded(plain, decay=0.5)
    gradients = torch.stack([o.gradient() for o in plain])[:, None]  # [T, 1, P]
    distance = SummedRounds()._distance(sent, None, None)

    assert float(distance(gradients)) < 1e-4
    assert float(distance(gradients.flip(0))) > 1e-3


def test_without_error_feedback_each_message_stands_for_itself(digits, mlp, observe):
    plain, x = visits(digits, mlp, observe, 2)
    auto, apart = (
        SummedRounds(max_iterations=60, objective=how).reconstruct(plain, generator(0, "attack"))
        for how in ("auto", "plain")
    )
    assert torch.equal(auto.x, apart.x)
    assert float(psnr(auto.x, x)) > 25


def test_labels_of_several_examples_must_be_told(digits, mlp, observe):
    seen = observe(mlp(torch.nn.GELU), digits[0][:2], digits[1][:2])
    with pytest.raises(PluginError, match="needs to know the labels of 2 examples"):
        SummedRounds().reconstruct([seen, seen], generator(0, "attack"))


def test_an_objective_that_is_none_is_refused():
    with pytest.raises(ValueError, match="objective must be one of auto, sum, plain, got 'mean'"):
        SummedRounds(objective="mean")


def test_labels_that_nobody_reads_are_asked_for_in_its_own_name(digits, observe, mlp):
    seen = observe(mlp(torch.nn.GELU), digits[0][:3], digits[1][:3])
    with pytest.raises(PluginError, match="SummedRounds needs to know the labels of 3 examples"):
        SummedRounds().reconstruct([seen, seen], generator(0, "attack"))


def test_what_a_momentum_carries_on_is_not_taken_for_a_residual():
    """DGC encodes v + mu m + u: of mu = 0 alone that is what was left out and the update."""
    around = {"codec": {"name": "topk", "density": 0.1}}
    assert CODECS.build("momentum_correction", {**around, "momentum": 0.0}).carries == 1
    assert CODECS.build("momentum_correction", {**around, "momentum": 0.9}).carries == 0


def test_it_knows_of_the_codec_where_it_takes_what_the_codec_says_and_nowhere_else(digits, mlp, observe):
    """Without a step size it adds messages up, as with ``objective = "sum"``, whatever the codec says."""
    seen, _ = coded(visits(digits, mlp, observe, 2)[0])
    blind = [replace(o, knowledge=replace(o.knowledge, lr=None)) for o in seen]
    assert knows_codec(SummedRounds(), seen) is True
    assert knows_codec(SummedRounds(), blind) is False
    assert knows_codec(SummedRounds(), [seen[0], blind[1]]) is False
    assert knows_codec(SummedRounds(objective="sum"), seen) is False
    stream = generator(0, "test")
    auto, summed = (
        SummedRounds(objective=objective, max_iterations=3).reconstruct(blind, copy.deepcopy(stream))
        for objective in ("auto", "sum")
    )
    assert torch.equal(auto.x, summed.x)
