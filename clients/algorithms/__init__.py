"""Local rules: what an algorithm changes about local SGD; and algorithms with a procedure of their own."""

from ...core.contracts import LocalProcedure, LocalRule
from ...core.declarations import Algorithms
from ...core.registry import Family

# Besides, a member has ``correct`` (``LocalRule``) or ``work`` (``LocalProcedure``): the contract asks.
ALGORITHMS: Family[LocalRule | LocalProcedure] = Family(
    "algorithms",
    "algorithm",
    ("schedule",),
    {
        "fedavg": "gauntlet.clients.algorithms.fedavg:FedAvg",
        "fedprox": "gauntlet.clients.algorithms.fedprox:FedProx",
        "fetch_sgd": "gauntlet.clients.algorithms.fetch_sgd:FetchSGD",
        "fednova": "gauntlet.clients.algorithms.fednova:FedNova",
        "fedexp": "gauntlet.clients.algorithms.fedexp:FedExP",
        "qffl": "gauntlet.clients.algorithms.qffl:QFFL",
        "gradient_descent": "gauntlet.clients.algorithms.gradient_descent:GradientDescent",
        "scaffold": "gauntlet.clients.algorithms.scaffold:Scaffold",
        "feddyn": "gauntlet.clients.algorithms.feddyn:FedDyn",
        "moon": "gauntlet.clients.algorithms.moon:Moon",
        "ditto": "gauntlet.clients.algorithms.ditto:Ditto",
        "fedbn": "gauntlet.clients.algorithms.fedbn:FedBN",
        "fedper": "gauntlet.clients.algorithms.fedper:FedPer",
        "heterofl": "gauntlet.clients.algorithms.heterofl:HeteroFL",
        "forward_gradient": "gauntlet.clients.algorithms.forward_gradient:ForwardGradient",
        "tpsgd": "gauntlet.clients.algorithms.tpsgd:TpSGD",
        "dfa": "gauntlet.clients.algorithms.dfa:DFA",
        "randomized_backward": "gauntlet.clients.algorithms.randomized_backward:RandomizedBackward",
        "stochastic_depth": "gauntlet.clients.algorithms.stochastic_depth:StochasticDepth",
        "noprop": "gauntlet.clients.algorithms.noprop:NoProp",
        "local_guess": "gauntlet.clients.algorithms.local_guess:LocalGuess",
        "nested_depth": "gauntlet.clients.algorithms.nested_depth:NestedDepth",
        "mezo": "gauntlet.clients.algorithms.mezo:MeZO",
        "gm_split": "gauntlet.clients.algorithms.gm_split:GMSplit",
        "admm": "gauntlet.clients.algorithms.admm:ADMM",
        "dsgld": "gauntlet.clients.algorithms.dsgld:DSGLD",
        "fsgld": "gauntlet.clients.algorithms.fsgld:FSGLD",
        "fedskel": "gauntlet.clients.algorithms.fedskel:FedSkel",
        "fzoos": "gauntlet.clients.algorithms.fzoos:FZooS",
        "cbo": "gauntlet.clients.algorithms.cbo:CBO",
        "uncertainty_merge": "gauntlet.clients.algorithms.uncertainty_merge:UncertaintyMerge",
        "unlearn": "gauntlet.clients.algorithms.unlearn:Unlearn",
        "label_correction": "gauntlet.clients.algorithms.label_correction:LabelCorrection",
        "rgf": "gauntlet.clients.algorithms.rgf:RGF",
        "diff2_gd": "gauntlet.clients.algorithms.diff2_gd:Diff2GD",
        "gc": "gauntlet.clients.algorithms.gc:GC",
        "sr_sgc": "gauntlet.clients.algorithms.sr_sgc:SRSGC",
        "m_sgc": "gauntlet.clients.algorithms.m_sgc:MSGC",
        "diff2_bvr_l_sgd": "gauntlet.clients.algorithms.diff2_bvr_l_sgd:Diff2BvrLSgd",
    },
    declares=Algorithms,
)
