from dataclasses import dataclass

import pytest
import torch
from torch import nn

from gauntlet.clients.models import Normalized, build_model
from gauntlet.core.errors import PluginError, ScenarioError
from gauntlet.core.layout import Layout
from gauntlet.core.seeds import generator


@dataclass(frozen=True)
class Data:
    name: str = "digits"
    input_shape: tuple[int, ...] = (1, 8, 8)
    num_classes: int = 10
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    num_tokens: int = 0


MNIST = Data("mnist", (1, 28, 28), mean=(0.1307,), std=(0.3081,))

PLUGINS = """
import torch
from torch import nn

def takes_both(input_shape, num_classes, scale=1.0):
    return nn.Sequential(nn.Flatten(), nn.Linear(input_shape[-1] ** 2, num_classes))

def takes_nothing():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

def takes_anything(**options):
    assert options == {"input_shape": (1, 8, 8), "num_classes": 10, "extra": 3}, options
    return takes_nothing()

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.linear = nn.Linear(64, num_classes)

    def forward(self, x):
        return self.linear(x.flatten(1))

class Infinite(Net):
    def forward(self, x):
        return super().forward(x) / 0

class Frozen(nn.Flatten):
    pass

class Pair(Net):
    def forward(self, x):
        return super().forward(x), x

def no_model():
    return "a model"

def raises():
    raise RuntimeError("first line\\nsecond line")
"""


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "outside.py"
    path.write_text(PLUGINS)
    return lambda name: f"{path}:{name}"


def weights(model):
    return Layout.of(model).flatten(dict(model.named_parameters()))


def build(name, options=None, data=Data(), seed=0):
    return build_model(name, options or {}, data, generator(seed, "model"))


def test_weights_come_from_the_stream_alone_and_leave_torchs_state_untouched():
    state = torch.get_rng_state()
    first = weights(build("mlp"))
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(1)
    assert torch.equal(weights(build("mlp")), first)
    assert not torch.equal(weights(build("mlp", seed=1)), first)


def test_data_with_a_mean_get_a_model_that_normalises():
    model = build("logistic_regression", data=MNIST)
    assert isinstance(model, Normalized)
    assert model.training
    plain = build("logistic_regression", data=Data("mnist", (1, 28, 28)))
    x = torch.rand(2, 1, 28, 28)
    torch.testing.assert_close(model(x), plain((x - 0.1307) / 0.3081))


@pytest.mark.parametrize("name", ["takes_both", "takes_nothing", "Net"])
def test_plain_functions_and_modules_get_what_they_take(plugin, name):
    assert build(plugin(name))(torch.rand(3, 1, 8, 8)).shape == (3, 10)


def test_options_reach_plain_functions(plugin):
    build(plugin("takes_anything"), {"extra": 3})
    build(plugin("takes_both"), {"scale": 2.0})
    with pytest.raises(PluginError, match="unknown option 'scael'; did you mean 'scale'"):
        build(plugin("takes_both"), {"scael": 2.0})


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (
            "mcnn",
            Data(),
            r"^model 'mcnn' does not fit digits: inputs \[1, 8, 8\], 10 classes: needs pictures "
            r"\[channels, height, width\] of at least 16 x 16 pixels$",
        ),
        (
            "cnn_mcmahan",
            Data("synthetic", (20,)),
            r"does not fit synthetic: inputs \[20\], 10 classes: needs pict",
        ),
        (
            "Net",
            Data("mnist", (1, 28, 28)),
            r"does not fit mnist: inputs \[1, 28, 28\], 10 classes: mat1 and mat2",
        ),
        ("takes_nothing", Data(num_classes=3), r"2 examples gave \[2, 10\], must be \[2, 3\]"),
        ("Infinite", Data(), "logits that are not finite"),
        ("Pair", Data(), r"2 examples gave tuple, must be \[2, 10\]"),
        ("Frozen", Data("flat", (10,)), "has no trainable parameters"),
    ],
)
def test_a_model_that_does_not_fit_the_data_is_named_in_one_line(plugin, name, data, message):
    with pytest.raises(ScenarioError, match=message) as caught:
        build(name if name[0].islower() and name != "takes_nothing" else plugin(name), data=data)
    assert "\n" not in str(caught.value)


def test_a_plug_in_that_makes_no_model_is_refused(plugin):
    with pytest.raises(PluginError, match=r"must be a torch.nn.Module, got str"):
        build(plugin("no_model"))
    with pytest.raises(PluginError, match="first line"):
        build(plugin("raises"))
    with pytest.raises(PluginError, match="unknown model 'mlpp'; did you mean 'mlp'"):
        build("mlpp")


@pytest.mark.parametrize("name", ["pandas:read_pickle", "torch:load", "torch.hub:load", "numpy:fromfile"])
def test_a_function_of_an_installed_package_that_makes_no_models_is_not_called(tmp_path, name):
    """``read_pickle`` runs whatever the file says."""
    with pytest.raises(PluginError, match=rf"model '{name}' must be a ") as caught:
        build(name, {"filepath_or_buffer": str(tmp_path / "x"), "f": str(tmp_path / "x")})
    assert "input_shape or num_classes" in str(caught.value) or "a class or a Python function" in str(
        caught.value
    )


def test_a_function_of_a_module_says_by_its_parameters_that_it_makes_models(tmp_path, monkeypatch):
    (tmp_path / "outside_models.py").write_text(PLUGINS)
    monkeypatch.syspath_prepend(tmp_path)
    assert build("outside_models:takes_both")(torch.rand(3, 1, 8, 8)).shape == (3, 10)
    assert build("outside_models:Net")(torch.rand(3, 1, 8, 8)).shape == (3, 10)
    with pytest.raises(PluginError, match="parameter input_shape or num_classes, got a function without"):
        build("outside_models:takes_nothing")


def test_a_model_with_batch_statistics_keeps_them_as_they_were(tmp_path):
    path = tmp_path / "outside.py"
    path.write_text(
        "from torch import nn\n"
        "def net():\n    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 10))\n"
    )
    model = build(f"{path}:net")
    norm = next(m for m in model.modules() if isinstance(m, nn.BatchNorm1d))
    assert norm.running_mean is not None
    assert norm.running_mean.abs().sum() == 0


def test_what_asks_for_the_number_of_tokens_is_told_it(tmp_path):
    """Seven tokens, three classes: a class with build, a module and a function; and 0 of floats."""
    path = tmp_path / "words.py"
    path.write_text(
        "from torch import nn\n\n\n"
        "class Bag(nn.Module):\n"
        "    def __init__(self, num_classes, num_tokens):\n"
        "        super().__init__()\n"
        "        self.told, self.table = num_tokens, nn.Embedding(max(1, num_tokens), num_classes)\n\n"
        "    def forward(self, x):\n"
        "        return self.table(x.long()).mean(dim=1)\n\n\n"
        "class Made:\n"
        "    def build(self, input_shape, num_classes, num_tokens=5):\n"
        "        return Bag(num_classes, num_tokens)\n\n\n"
        "def made(num_classes, num_tokens, **others):\n"
        "    assert set(others) == {'input_shape'}, others\n"
        "    return Bag(num_classes, num_tokens)\n"
    )
    text = Data("text", (4,), 3, num_tokens=7)
    for name in ("Bag", "Made", "made"):
        assert build_model(f"{path}:{name}", {}, text, generator(0, "model")).told == 7
    assert build_model(f"{path}:Made", {}, Data(input_shape=(4,)), generator(0, "model")).told == 0
