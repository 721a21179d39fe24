"""What each family of plug-ins owes: one verb each, on values of this floor.

A plug-in is a frozen dataclass whose fields are its options. It inherits nothing: it fits a protocol by
having its members. ``init() -> state`` gives the first memory and the verb returns the next; a state is a
tree as ``core.trees`` describes. All contracts stand here, so that no family needs to import another.

What a plug-in may say of itself besides stands in the tables of ``core.declarations``.
"""

from .attacks import DataAttack, Goal, InferenceAttack, LeakageAttack, SeenModel, UpdateAttack, View
from .client_defenses import BlockVisit, ClientDefense
from .clients import (
    Activations,
    AddingRule,
    Device,
    ExchangingRule,
    Groups,
    LocalRule,
    LocalTraining,
    LocalWork,
    ModelFactory,
    Part,
    Switch,
)
from .codecs import Codec, CodecContext, CodecStreams, Mismatch
from .defenses import Defense, EvaluatedModel, LinearDefense, PreAggregation, Verdict
from .facts import Facts, StatingRule
from .knowledge import UpdateKnowledge
from .privacy import (
    AdaptiveClipping,
    Audit,
    Audited,
    Clipping,
    ExamplePrivacy,
    NoGuarantee,
    Privacy,
    PublicFacts,
    Release,
)
from .procedures import LocalProcedure, Visit, Worked
from .server import (
    Arrivals,
    Delivery,
    Network,
    Sampler,
    Sampling,
    Schedule,
    ServerOptimizer,
    Starts,
    Traffic,
)
from .servers import MaliciousServer, Secret
from .tasks import ClassScore, DataFacts, LossForm, Measured, OutputScore, Task
from .tracking import TrackedRun, Tracker, TrackSession

__all__ = [
    "Activations",
    "AdaptiveClipping",
    "AddingRule",
    "Arrivals",
    "Audit",
    "Audited",
    "BlockVisit",
    "ClassScore",
    "ClientDefense",
    "Clipping",
    "Codec",
    "CodecContext",
    "CodecStreams",
    "DataAttack",
    "DataFacts",
    "Defense",
    "Delivery",
    "Device",
    "EvaluatedModel",
    "ExamplePrivacy",
    "ExchangingRule",
    "Facts",
    "Goal",
    "Groups",
    "InferenceAttack",
    "LeakageAttack",
    "LinearDefense",
    "LocalProcedure",
    "LocalRule",
    "LocalTraining",
    "LocalWork",
    "LossForm",
    "MaliciousServer",
    "Measured",
    "Mismatch",
    "ModelFactory",
    "Network",
    "NoGuarantee",
    "OutputScore",
    "Part",
    "PreAggregation",
    "Privacy",
    "PublicFacts",
    "Release",
    "Sampler",
    "Sampling",
    "Schedule",
    "Secret",
    "SeenModel",
    "ServerOptimizer",
    "Starts",
    "StatingRule",
    "Switch",
    "Task",
    "TrackSession",
    "TrackedRun",
    "Tracker",
    "Traffic",
    "UpdateAttack",
    "UpdateKnowledge",
    "Verdict",
    "View",
    "Visit",
    "Worked",
]
