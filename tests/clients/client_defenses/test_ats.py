"""ATS: every transform beside PIL, on images of bytes."""

import numpy as np
import pytest
import torch

from gauntlet.clients.client_defenses.ats import POLICIES, Ats, magnitude
from gauntlet.clients.client_defenses.parts.image_transforms import TRANSFORMS
from gauntlet.core.errors import PluginError
from gauntlet.core.seeds import generator

image, enhance, ops = (pytest.importorskip(f"PIL.{name}") for name in ("Image", "ImageEnhance", "ImageOps"))


def picture():
    """A smooth image of three channels, 16 x 20, of bytes."""
    y, x = np.mgrid[0:16, 0:20]
    channels = [np.sin(x / 4 + i) * np.cos(y / 3 - i) * 90 + 120 + 10 * i for i in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def ours(name, size, sign=1):
    x = torch.from_numpy(picture()).permute(2, 0, 1)[None].float() / 255
    found = TRANSFORMS[name](x, size, torch.tensor([float(sign)]))
    return (found[0].permute(1, 2, 0) * 255).numpy()


def moved(matrix, fill=(0, 0, 0)):
    return lambda img: img.transform(img.size, image.AFFINE, matrix, image.BILINEAR, fillcolor=fill)


@pytest.mark.parametrize(
    ("name", "size", "sign", "theirs"),
    [
        ("invert", 0, 1, ops.invert),
        ("autocontrast", 0, 1, ops.autocontrast),
        ("posterize", 6, 1, lambda img: ops.posterize(img, 6)),
        ("solarize", 100.0, 1, lambda img: ops.solarize(img, 100)),
        ("equalize", 0, 1, ops.equalize),
        ("color", 0.4, 1, lambda img: enhance.Color(img).enhance(1.4)),
        ("color", 0.4, -1, lambda img: enhance.Color(img).enhance(0.6)),
        ("contrast", 0.4, -1, lambda img: enhance.Contrast(img).enhance(0.6)),
        ("brightness", 0.3, 1, lambda img: enhance.Brightness(img).enhance(1.3)),
        ("sharpness", 0.5, 1, lambda img: enhance.Sharpness(img).enhance(1.5)),
        ("shear_x", 0.2, 1, moved((1, 0.2, -0.2 * 8, 0, 1, 0))),
        ("shear_y", 0.2, -1, moved((1, 0, 0, -0.2, 1, 0.2 * 10))),
        ("translate_x", 0.2, 1, moved((1, 0, 0.2 * 20, 0, 1, 0))),
        ("translate_y", 0.25, -1, moved((1, 0, 0, 0, 1, -0.25 * 16))),
        ("rotate", 20.0, 1, lambda img: img.rotate(20, image.BILINEAR, fillcolor=(128, 128, 128))),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_transform_is_pils_to_a_few_levels(name, size, sign, theirs):
    """Away from the border, where PIL extends or blends otherwise; shears turn around the middle here."""
    expected = np.asarray(theirs(image.fromarray(picture()))).astype(float)
    found = ours(name, size, sign)
    apart = np.abs(found - expected)[2:-2, 2:-2]
    assert np.quantile(apart, 0.8) <= 2.0


def test_the_list_is_the_authors():
    """50 transforms; those of the default policy, 3-1-7+43-18-18, by their file policy.py."""
    assert len(POLICIES) == 50
    named = [("translate_x", 9), ("contrast", 6), ("translate_y", 2), ("translate_y", 3), ("contrast", 7)]
    assert [POLICIES[n] for n in (3, 1, 7, 43, 18)] == named
    assert magnitude("translate_x", 9) == pytest.approx(150 / 331)
    assert magnitude("rotate", 3) == pytest.approx(10.0)
    assert magnitude("posterize", 5) == 6
    assert magnitude("solarize", 0) == 256


def test_each_image_draws_a_list_and_signs_and_nothing_of_other_images():
    x, y = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(60)
    defense = Ats("29+31")  # invert, or autocontrast
    found, labels = defense.examples(x, y, generator(0, "ats"))
    inverted = (found - (1 - x)).abs().amax(dim=(1, 2, 3)) < 1e-6
    stretched = (found.amin(dim=(1, 2, 3)) == 0) & (found.amax(dim=(1, 2, 3)) == 1)
    assert bool((inverted ^ stretched).all())
    assert 15 <= int(inverted.sum()) <= 45
    assert torch.equal(labels, y)
    others = torch.cat([x[:1], torch.rand(59, 1, 8, 8)])
    assert torch.equal(defense.examples(others, y, generator(0, "ats"))[0][0], found[0])


@pytest.mark.parametrize("policy", ["", "50", "3-", "3+x", "-1", "3--1"])
def test_a_policy_that_is_none_is_refused(policy):
    with pytest.raises(ValueError, match="policy must be numbers from 0 to 49"):
        Ats(policy)


@pytest.mark.parametrize("policy", ["1" * 5000, "3-" * 2500 + "x"])
def test_a_policy_of_thousands_of_signs_is_refused_in_one_short_line(policy):
    """Python turns no more than 4300 digits into a number."""
    with pytest.raises(ValueError, match=r"from 0 to 49, .*got '[-13]+ \.\.\.$") as caught:
        Ats(policy)
    assert len(str(caught.value)) < 150


def test_inputs_that_are_no_images_are_refused():
    with pytest.raises(PluginError, match=r"\[1 or 3, height, width\], got \[64\]"):
        Ats().check(None, (64,))


def digits(count):
    """Return digits, whose grounds are dark and whose strokes are bright.  # [count, 1, 8, 8]"""
    from sklearn.datasets import load_digits

    return torch.from_numpy(load_digits().images[:count]).float()[:, None] / 16


def psnr(found, x):
    return -10 * torch.log10((found - x).square().mean(dim=(1, 2, 3))).mean()


@pytest.mark.parametrize(
    ("policy", "least"),
    [
        ("29", 60),  # 1 - x
        ("2-12", 60),  # turned, and all channels blended with their grey: nothing in black and white
        ("30", 60),  # an even histogram, which has no derivative
        ("18+29", 40),  # another contrast, or 1 - x: each image's own
    ],
)
def test_an_attacker_who_knows_the_policy_undoes_it(policy, least):
    """From what was trained on alone, whichever list and signs each image drew."""
    x, y = digits(4), torch.zeros(4, dtype=torch.long)
    defense = Ats(policy)
    seen = defense.examples(x, y, generator(0, "ats"))[0]
    found, misfit = defense.undo([seen], (0.0, 1.0), generator(0, "undo"))
    assert psnr(found, x) > least
    assert misfit < 0.01


@pytest.mark.slow
def test_the_published_policy_is_undone_but_for_what_was_moved_out_of_the_image():
    """Measured: 9.6 dB as trained, 20.6 undone of one round, 34.5 of four: each lost another part."""
    x, y = digits(4), torch.zeros(4, dtype=torch.long)
    seen = [Ats().examples(x, y, np.random.default_rng([1, r]))[0] for r in range(4)]
    one, several = (Ats().undo(some, (0.0, 1.0), generator(0, "undo"))[0] for some in (seen[:1], seen))
    assert psnr(seen[0], x) < 12
    assert psnr(one, x) > psnr(seen[0], x) + 6
    assert psnr(several, x) > psnr(one, x) + 6


@pytest.mark.parametrize(
    ("policy", "came"),
    [
        ("-".join(["3"] * 11), "2048"),
        ("+".join(["-".join(["3"] * 10), "2"]), "1025"),
        ("3-" * 15000 + "3", "m"),
    ],
)
def test_a_policy_of_too_many_ways_is_refused_before_anybody_trains(policy, came):
    """By hand: 3 has two signs, 2 has one, so that eleven of 3 one after the other have 2^11 ways."""
    with pytest.raises(ValueError, match=f"at most 1024 ways to undo it, got {came}"):
        Ats(policy)
    Ats("-".join(["3"] * 10))
