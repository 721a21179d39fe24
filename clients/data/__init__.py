"""Data sets, the ways to spread them over clients, and the result: ``FederatedData``."""

from ...core.declarations import Datasets, Partitions
from ...core.registry import Family
from .base import Dataset, FederatedData, Partition, PartitionedData, Population, Source
from .federate import federate

__all__ = [
    "DATASETS",
    "PARTITIONS",
    "Dataset",
    "FederatedData",
    "Partition",
    "PartitionedData",
    "Population",
    "Source",
    "federate",
]

# A member has ``load`` (examples on one pile, for a partition to spread) or ``populate`` (they are born
# with their clients): ``federate`` tells them apart.
DATASETS: Family[Source] = Family(
    "datasets",
    "dataset",
    (),
    {
        "digits": "gauntlet.clients.data.digits:Digits",
        "mnist": "gauntlet.clients.data.mnist:Mnist",
        "fashion_mnist": "gauntlet.clients.data.fashion_mnist:FashionMnist",
        "emnist": "gauntlet.clients.data.emnist:Emnist",
        "cifar10": "gauntlet.clients.data.cifar10:Cifar10",
        "cifar100": "gauntlet.clients.data.cifar100:Cifar100",
        "svhn": "gauntlet.clients.data.svhn:Svhn",
        "heart_disease": "gauntlet.clients.data.heart_disease:HeartDisease",
        "mobility": "gauntlet.clients.data.mobility:Mobility",
        "tiny_shakespeare": "gauntlet.clients.data.tiny_shakespeare:TinyShakespeare",
        "cola": "gauntlet.clients.data.cola:Cola",
        "sst2": "gauntlet.clients.data.sst2:Sst2",
        "rotten_tomatoes": "gauntlet.clients.data.rotten_tomatoes:RottenTomatoes",
        "people": "gauntlet.clients.data.people:People",
        "csv": "gauntlet.clients.data.csv_table:CsvTable",
        "npz": "gauntlet.clients.data.npz_arrays:NpzArrays",
        "leaf": "gauntlet.clients.data.leaf:Leaf",
        "adult": "gauntlet.clients.data.adult:Adult",
        "gaussian_shards": "gauntlet.clients.data.gaussian_shards:GaussianShards",
        "wls": "gauntlet.clients.data.wls:WeightedLeastSquares",
        "fcube": "gauntlet.clients.data.fcube:FCube",
        "fedprox_synthetic": "gauntlet.clients.data.fedprox_synthetic:FedProxSynthetic",
        "synthetic": "gauntlet.clients.data.synthetic:SyntheticPopulation",
    },
    either=("load", "populate"),
    schemes={
        "torch": "gauntlet.clients.data.torch_items:torch_dataset",
        "hf": "gauntlet.clients.data.hugging_face:hub_dataset",
    },
    declares=Datasets,
)

PARTITIONS: Family[Partition] = Family(
    "partitions",
    "partition",
    ("split",),
    {
        "iid": "gauntlet.clients.data.iid:Iid",
        "shards": "gauntlet.clients.data.shards:Shards",
        "dirichlet": "gauntlet.clients.data.dirichlet:Dirichlet",
        "dirichlet_class": "gauntlet.clients.data.dirichlet_class:DirichletClass",
        "pathological": "gauntlet.clients.data.pathological:Pathological",
        "quantity": "gauntlet.clients.data.quantity:Quantity",
        "natural": "gauntlet.clients.data.natural:Natural",
        "feature_noise": "gauntlet.clients.data.feature_noise:FeatureNoise",
        "domain_shift": "gauntlet.clients.data.domain_shift:DomainShift",
    },
    declares=Partitions,
)
