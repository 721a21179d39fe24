"""The attacker that knows the codec: by hand, and against the one that does not."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from gauntlet.attacks.leakage.dlg import DLG
from gauntlet.attacks.leakage.idlg import IDLG
from gauntlet.attacks.leakage.inverting_gradients import InvertingGradients
from gauntlet.attacks.leakage.search.aware import aware
from gauntlet.attacks.leakage.search.distances import cosine
from gauntlet.clients.codecs import CODECS
from gauntlet.clients.codecs.parts.wire import decode_frame, encode_cohort, mismatch_of, support_of
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.frames import Envelope
from gauntlet.core.layout import Layout, Slot
from gauntlet.core.leakage_knowledge import LeakageKnowledge
from gauntlet.core.observation import Observation
from gauntlet.core.seeds import generator, seeded_torch
from gauntlet.core.updates import Updates


@pytest.fixture
def coded(observe):
    """Return an observation as a codec lets it through, with what the codec says of the frame."""

    def through(observation, name, **options):
        codec, layout, streams = CODECS.build(name, options), observation.layout, CodecStreams(0, 0)
        one = torch.tensor([1])
        update = Updates(observation.update[None], one, one)
        (frame,), _ = encode_cohort(codec, update, layout, 9, codec.init(), streams)
        about = Envelope(codec.codec_id, 0, 1, 9), layout
        context = streams.context(1)
        return replace(
            observation,
            frame=frame,
            update=decode_frame(codec, frame, *about, context),
            support=support_of(codec, frame, *about),
            mismatch=mismatch_of(codec, frame, *about, context),
        )

    return through


def smooth():
    with seeded_torch(generator(0, "aware")):
        layers = nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 128), nn.GELU(), nn.Linear(128, 10)
        return nn.Sequential(nn.Flatten(), *layers)


def psnr(found, x):
    return float(-10 * (found.x - x).square().mean().clamp(min=1e-12).log10())


@pytest.mark.parametrize(
    ("codec", "options", "gain"),
    [("topk", {"density": 0.1}, 25), ("topk", {"density": 0.01}, 12), ("terngrad", {}, 5)],
    ids=str,
)
def test_who_knows_the_codec_sees_more(digits, observe, coded, codec, options, gain):
    """The additions to the leakage specification, section D: at least 5 dB on each codec."""
    x, y = digits
    seen = coded(observe(smooth(), x[:1], y[:1]), codec, **options)
    attack = InvertingGradients(max_iterations=120, tv=(0.0, 0.0))

    known = attack.reconstruct([seen], generator(0, "t"))
    blind = replace(attack, objective="plain").reconstruct([seen], generator(0, "t"))

    assert psnr(known, x[:1]) > psnr(blind, x[:1]) + gain


@pytest.mark.parametrize("attack", [DLG, IDLG])
def test_by_lbfgs_too_and_where_it_is_asked_for(digits, observe, coded, attack):
    x, y = digits
    seen = coded(observe(smooth(), x[:1], y[:1]), "topk", density=0.2)
    how = {"max_iterations": 30, "line_search": True, "init": "uniform"}

    known = attack(objective="auto", **how).reconstruct([seen], generator(0, "t"))
    blind = attack(**how).reconstruct([seen], generator(0, "t"))

    assert psnr(known, x[:1]) > psnr(blind, x[:1]) + 10


def test_least_squares_need_squares():
    with pytest.raises(ValueError, match="objective 'auto' is no sum of squares"):
        DLG(objective="auto", optimizer="levenberg_marquardt")


def test_a_message_that_was_clipped_is_matched_at_its_length(digits, observe):
    """Clipped to a quarter, a gradient is found by its direction; taken for one of that size it is not."""
    x, y = digits
    seen = observe(smooth(), x[:1], y[:1])
    clipped = replace(seen, update=seen.update / 4)
    attack = IDLG(max_iterations=30, line_search=True, init="uniform")
    private = replace(clipped, knowledge=replace(seen.knowledge, privacy="gaussian clip_norm=0.1"))

    assert psnr(attack.reconstruct([private], generator(0, "t")), x[:1]) > 40
    assert psnr(attack.reconstruct([clipped], generator(0, "t")), x[:1]) < 30


@dataclass(frozen=True)
class Gap:
    """The squared distance to (-1, -2, 0): no scale is free."""

    scale_free: bool = False

    def __call__(self, updates: Tensor) -> Tensor:
        return (updates - torch.tensor([-1.0, -2.0, 0.0])).square().sum(dim=-1)


def three(mismatch=None, sent=(-1.0, -2.0, 0.0), support=(True, True, False)):
    known = LeakageKnowledge(batch_size=1)
    facts = Layout((Slot("w", (3,), 0),)), b"", torch.tensor(sent), (1,), 2, (0.0, 1.0), known
    return Observation(0, 0, nn.Identity(), *facts, support=torch.tensor(support), mismatch=mismatch)


def test_an_update_of_true_size_is_found_where_no_step_size_is_known():
    """By hand: (1, 2, 2) times any step is nearest to what was sent at step 1, and 4 off in what was not."""
    seen = three(Gap())
    found = aware(seen, "auto", cosine(-seen.update))(torch.tensor([[1.0, 2.0, 2.0], [5.0, 10.0, 10.0]]))

    assert found.tolist() == pytest.approx([4.0, 4.0])


def test_what_points_away_keeps_a_small_size_and_a_slope():
    seen, away = three(Gap()), torch.tensor([[-1.0, -2.0, 0.0]], requires_grad=True)

    value = aware(seen, "auto", cosine(-seen.update))(away)
    (slope,) = torch.autograd.grad(value.sum(), away)

    assert float(value.detach()) == pytest.approx(5.0, rel=0.01)
    assert slope.isfinite().all()


def test_what_the_client_took_away_counts_for_nothing():
    """By hand: with the third entry pruned before it was coded, (1, 2, 2) is what was sent."""
    seen = three(Gap(), support=(True, True, True))
    counts = seen.update != 0

    found = aware(seen, "auto", cosine(-seen.update), counts)(torch.tensor([[1.0, 2.0, 2.0]]))

    assert found.tolist() == pytest.approx([0.0])


@pytest.mark.parametrize(("objective", "mismatch"), [("plain", Gap()), ("auto", None)])
def test_where_nobody_asks_or_nothing_is_said_it_is_the_plain_distance(objective, mismatch):
    seen, plain = three(mismatch), cosine(torch.tensor([1.0, 2.0, 0.0]))

    assert aware(seen, objective, plain) is plain
