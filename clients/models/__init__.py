"""Models by name, and ``build_model``, which fits one to the data."""

from ...core.contracts import ModelFactory
from ...core.declarations import Models
from ...core.registry import Family
from .build import build_model, factory_refusal
from .normalized import Normalized

__all__ = ["MODELS", "Normalized", "build_model"]

# A member has ``build(input_shape, num_classes)``; a module's class and a plain function will do as well.
MODELS: Family[ModelFactory] = Family(
    "models",
    "model",
    ("build",),
    {
        "logistic_regression": "gauntlet.clients.models.logistic_regression:LogisticRegression",
        "gaussian_mean": "gauntlet.clients.models.gaussian_mean:GaussianMean",
        "mlp": "gauntlet.clients.models.mlp:Mlp",
        "lenet_sigmoid": "gauntlet.clients.models.lenet_sigmoid:LenetSigmoid",
        "lenet_mudhog": "gauntlet.clients.models.lenet_mudhog:LenetMudhog",
        "cnn_mudhog_fashion": "gauntlet.clients.models.cnn_mudhog_fashion:CnnMudhogFashion",
        "mcnn": "gauntlet.clients.models.mcnn:Mcnn",
        "cnn_mcmahan": "gauntlet.clients.models.cnn_mcmahan:CnnMcmahan",
        "cnn_heterofl": "gauntlet.clients.models.cnn_heterofl:CnnHeterofl",
        "linear": "gauntlet.clients.models.linear:Linear",
        "residual_mlp": "gauntlet.clients.models.residual_mlp:ResidualMlp",
        "noprop": "gauntlet.clients.models.noprop:NoPropBlocks",
        "rnn": "gauntlet.clients.models.rnn:Rnn",
        "lstm": "gauntlet.clients.models.lstm:Lstm",
        "gru": "gauntlet.clients.models.gru:Gru",
        "bilstm": "gauntlet.clients.models.bilstm:BiLstm",
        "bigru": "gauntlet.clients.models.bigru:BiGru",
        "tiny_gpt": "gauntlet.clients.models.tiny_gpt:TinyGpt",
        "lora": "gauntlet.clients.models.lora:Lora",
        "welore": "gauntlet.clients.models.welore:Welore",
        "tiny_bert": "gauntlet.clients.models.tiny_bert:TinyBert",
        "tiny_vit": "gauntlet.clients.models.tiny_vit:TinyVit",
        "resnet18_gn": "gauntlet.clients.models.resnet18_gn:Resnet18Gn",
    },
    schemes={"hf": "gauntlet.clients.models.hub_model:hub_model"},
    refusal=factory_refusal,
    declares=Models,
)
