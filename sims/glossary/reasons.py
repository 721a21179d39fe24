"""What the values of columns with few words mean: why there is no epsilon, how a message and a run ended.

``VALUES`` is keyed by column; a text ends with what would have to change, where something can.
"""

from collections.abc import Mapping

from .marks import MARKS, SOK

EPSILON_REASONS: Mapping[str, str] = {
    "no_mechanism": "No privacy mechanism adds noise. Choose one (gauntlet list privacy) with a "
    "noise_multiplier above 0, or an epsilon.",
    "aggregator": "It is not known how far one client can move what the defense makes of the updates,"
    " as with a median. Use defense mean with weighting = 'fixed' and no pre-aggregation, or "
    "privacy local_gaussian or dp_sgd, after which any defense keeps the guarantee.",
    "weights": "The mean weighs clients by how many examples they hold, or divides by who came: both "
    "follow from data. Set defense.weighting = 'fixed'.",
    "selection": "Who is counted depends on clients' data, such as through a deadline. Leave out the "
    "deadline (network.policy = 'wait_all').",
    "sampling_mismatch": "No analysis is valid for the cohorts that were drawn: where a client is not there "
    "(relation add_remove), others come in its place. Use sampler poisson or full, or relation = 'zero_out'.",
    "attackers_see_updates": "An attack saw honest clients' unprotected updates, so that one client moves "
    "attackers' messages too. Give it knowledge = 'colluders' where it has that option, or use privacy "
    "local_gaussian or dp_sgd.",
    "attackers_see_cohort": "What attackers send follows from who came. Name the attacking clients or"
    " give their count, and use sampler poisson or full, or relation = 'zero_out' with sampler full"
    " or fixed_size.",
    "observer": "The server is malicious, and central and distributed privacy trust it. Use privacy "
    "local_gaussian or dp_sgd, or server honest.",
    "client_memory": "A codec or an algorithm remembers earlier rounds, for which no analysis with "
    "this sampling and mechanism is known. Use ones without a memory, such as identity and fedavg, "
    "or sampler full with privacy gaussian.",
    "schedule": "Under this schedule others begin in the place of a client that stays away. Set "
    "privacy.relation = 'zero_out', or use schedule synchronous.",
    "extra_release": "Clients send something besides that is not noised: labels they hold (heterofl "
    "with mask), or facts such as how many steps they took (fednova). Switch that off (heterofl: "
    "mask = false), or use fedavg.",
    "distributed_shares": "Fewer honest clients added their share of the noise than were counted on, "
    "or the noise's size would tell who came. Set privacy.max_dropouts, and use sampler full or "
    "fixed_size with relation zero_out or replace_one.",
    "private_clip": "What moves the clip norm goes out without noise. Leave out count_noise_std = 0.",
    "uncalibrated_noise": "The noise is part of a sampler of a posterior and is not scaled to a "
    "sensitivity, so that it is not charged. Set privacy.calibrated = true where the mechanism is "
    "annealed.",
    "fitted_inputs": "Scales, categories or classes of a table came from training rows, which nothing"
    " protects. Give them from public knowledge (csv: ranges, categories, classes).",
    "no_delta": "No delta is given. Set privacy.delta.",
    "not_finite": "The bound of every analysis is infinite: the noise is too small, or the rounds are"
    " too many, to be accounted, or the model diverged and a clip norm that follows it, too. Raise"
    " noise_multiplier, or take fewer rounds or smaller steps.",
}
MESSAGES: Mapping[str, str] = {
    "ok": "The message came in time, decoded and was finite: it was counted.",
    "dropped": "The message did not arrive in time, and was not counted.",
    "undecodable": "The frame is not a legal one; the column reason says why. It was not counted.",
    "non_finite": "The update, or what is stated beside it, holds NaN or infinity. It was not counted.",
}
FLAGS: Mapping[str, str] = {
    "malicious": "The defense takes the client for an attacker.",
    "sign_flip": "The defense takes the client for one that sends its update backwards.",
    "noise": "The defense takes the client for one that adds noise to its update.",
    "targeted": "The defense takes the client for one that teaches a certain mistake.",
    "unreliable": "The defense takes the client for an honest one of bad data: no alarm.",
}
TRUTHS: Mapping[str, str] = {
    "honest": "The client did not attack in this round; it may have before (ever_attacked).",
    "unreliable": "The client is honest and has bad data.",
    "canary": "No client: an audit made this message up.",
}
STATUSES: Mapping[str, str] = {
    "running": "The run goes on, or was stopped where it could not say so; 'gauntlet resume' goes on "
    "with it.",
    "complete": "All rounds were run.",
    "budget_exhausted": "One more round would have cost more than max_epsilon: the run ended before it.",
    "failed": "The run ended with an error, which 'reason' in the manifest says; 'gauntlet resume' goes on.",
}
DIRECTIONS: Mapping[str, str] = {
    "up": "A client's message to the server.",
    "down": "The broadcast, once a round.",
    "catchup": "What a client that was away received before the round's broadcast.",
}
ROLES: Mapping[str, str] = {
    "present": "A canary whose messages were among the cohort's.",
    "absent": "A canary that was left out, for comparison.",
    "unseen": "A random direction that nobody ever used, for comparison.",
}
VALUES: Mapping[str, Mapping[str, str]] = {
    "epsilon_reason": EPSILON_REASONS,
    "status": MESSAGES,
    "flag": FLAGS,
    "truth": TRUTHS,
    "run_status": STATUSES,
    "direction": DIRECTIONS,
    "role": ROLES,
    "sok": SOK,
    "mark": MARKS,
}
