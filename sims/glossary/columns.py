"""What the columns of the result tables mean, table by table: unit, range, and when a cell is empty."""

from collections.abc import Mapping

_ROUND = "The round, from 0."
ROUNDS: Mapping[str, str] = {
    "round": _ROUND,
    "accuracy": "Share of test examples that the global model gets right after the round; empty where"
    " it was not evaluated, and of regressions.",
    "loss": "Mean test loss of the global model after the round.",
    "rmse": "Root mean squared error on the test set, over all outputs, in standardised units of the "
    "targets where the data set standardises them; of regressions alone.",
    "mae": "Mean absolute error on the test set; of regressions alone.",
    "cohort_size": "Clients whose message left them in the round.",
    "arrived": "Those of them whose message arrived in time.",
    "rejected": "Messages that arrived and were left out: not decodable, or not finite.",
    "fallback": "Why the defense could not judge the cohort, where the aggregate is therefore not its own.",
    "train_loss": "Mean training loss of the cohort's clients.",
    "update_norm": "Mean L2 norm of the messages, as sent.",
    "aggregate_norm": "L2 norm of what the defense made of them, before the server's noise.",
    "bytes_up": "Bytes of all messages of the clients that began in the round.",
    "bytes_down": "Bytes that these clients received.",
    "total_bytes_up": "Bytes up, up to and with this round.",
    "total_bytes_down": "Bytes down, up to and with this round.",
    "virtual_seconds": "The network's clock at the end of the round.",
    "link_seconds": "How long the bytes of the clients that began took on their links, on average.",
    "epsilon": "What the run has cost up to and with this round; empty where nothing is proved.",
    "epsilon_reason": "Why there is no epsilon. Its values: gauntlet explain epsilon_reason.",
    "accountant": "Which analysis gave the smallest of several valid bounds.",
    "delta": "The probability that epsilon may fail.",
    "noise_multiplier": "Standard deviation of the noise over the clip norm (z) of the round.",
    "clip_norm": "The bound on an update's L2 norm in the round.",
    "trust_model": "Whom the guarantee trusts: central (the server), local (nobody), distributed (secure "
    "aggregation).",
    "unit": "What one unit of privacy is: an example, a client, a cell.",
    "relation": "What neighbouring data sets differ in: add_remove, zero_out or replace_one.",
    "sampling": "How the protected units were drawn.",
    "flagged": "Clients that the defense flagged as malicious, of those whose message it saw.",
    "attacking": "Clients of these that attack in the round.",
    "ever_attacked": "Clients of these that attack or have attacked before.",
    "resting_flagged": "Flagged clients that do not attack in the round, but have before.",
    "true_positives": "Flagged clients that attack in the round.",
    "false_positives": "Flagged clients that never attacked.",
    "false_negatives": "Clients that attack in the round and are not flagged.",
    "true_negatives": "Clients that never attacked and are not flagged.",
    "precision": "Share of the flagged that attack or have attacked; 1 where nobody is flagged and "
    "nobody attacks, empty where nobody is flagged and somebody does.",
    "recall": "Share of those that attack in the round that is flagged; 1 where nobody attacks.",
    "false_positive_rate": "Share of those that never attacked that is flagged.",
    "unreliable_true_positives": "Unreliable clients that are flagged as such.",
    "unreliable_false_positives": "Clients that are flagged as unreliable and are not.",
    "unreliable_false_negatives": "Unreliable clients that are not flagged as such.",
    "excluded_honest_share": "Of the clients that arrived and never attacked, the share with weight "
    "0; empty where clients have no weights of their own.",
    "aggregate_distance": "L2 distance of the aggregate from the plain mean of the honest updates "
    "that arrived; empty where none came, where a rule that only weighs met honest ones alone, and where the "
    "algorithm combines messages itself (combine): they are no updates.",
    "aggregate_cosine": "Cosine between the two; 0 where either is zero, empty where the distance is.",
    "attack_success_rate": "Share of the triggered or chosen test examples that get the label that "
    "the attack wants; of several attacks the largest.",
}
CLIENTS: Mapping[str, str] = {
    "round": _ROUND,
    "client_id": "The client, from 0; ids from the population's size on are an audit's canaries.",
    "num_examples": "How many examples the client says that it has.",
    "train_loss": "Mean loss of its local training.",
    "raw_norm": "L2 norm of its update before clipping and noise.",
    "update_norm": "L2 norm of its message, as sent.",
    "bytes_up": "Bytes of its message.",
    "weight": "What its update weighs in the aggregate; empty where the defense gives no weights.",
    "score": "What the defense scores it by; what is high follows from the defense.",
    "truth": "What it really is in this round: honest, or the name of its attack.",
    "ever_attacked": "Whether it attacks or has attacked before.",
    "flag": "What the defense takes it for; empty where it is not flagged.",
    "status": "What became of its message. Its values: gauntlet explain status.",
    "reason": "Why the message was not counted.",
    "client_seconds": "When its message came, in virtual seconds after it began.",
}
SCORES: Mapping[str, str] = {
    "round": _ROUND,
    "client_id": "The client.",
    "name": "What is scored: the defense's own word; staleness in rounds; fact.NAME that clients state.",
    "value": "The number.",
}
CLASSES: Mapping[str, str] = {
    "round": _ROUND,
    "class": "The class, from 0.",
    "examples": "Test examples of the class.",
    "predicted": "Test examples that the model takes for it.",
    "right": "Those of them that are of the class.",
    "recall": "right over examples.",
    "precision": "right over predicted.",
    "f1": "Harmonic mean of precision and recall.",
}
OUTPUTS: Mapping[str, str] = {
    "round": _ROUND,
    "output": "Which of a regression's outputs.",
    "examples": "Test examples.",
    "rmse": "Root mean squared error, in the target's own unit.",
    "mae": "Mean absolute error, in the target's own unit.",
}
CERTIFICATES: Mapping[str, str] = {
    "round": _ROUND,
    "name": "Which column of the certificate.",
    "examples": "Test examples; 0 of one number for all.",
    "mean": "Mean over the test set.",
    "right": "The mean with 0 for examples that the model gets wrong.",
    "least": "The smallest.",
    "median": "The median.",
    "most": "The largest.",
}
PERSONAL: Mapping[str, str] = {
    "round": _ROUND,
    "client_id": "The client.",
    "examples": "Examples that it holds out.",
    "accuracy": "Accuracy of its own model on these.",
    "global_accuracy": "Accuracy of the global model on these.",
    "loss": "Loss of its own model on these.",
    "global_loss": "Loss of the global model on these.",
    "ever_attacked": "Whether it attacks or has attacked before.",
}
FAIRNESS: Mapping[str, str] = {
    "round": _ROUND,
    "model": "Whose accuracy: of the global model, or of clients' own ones (global, own).",
    "clients": "Clients that never attacked and hold something out; each counts the same.",
    "mean": "Mean accuracy over these, each on what it holds out.",
    "std": "Its standard deviation over them.",
    "worst": "Accuracy of the worst client.",
    "p10": "The 10th percentile over clients, between neighbours in proportion.",
    "median": "The median client's.",
    "best": "The best client's.",
}
ATTACKS: Mapping[str, str] = {
    "round": _ROUND,
    "number": "Which [[attacks]] section, from 0.",
    "attack": "Its name.",
    "active": "Whether it attacks in the round.",
    "examples": "Test examples that it wants a certain label for.",
    "success_rate": "Share of them that get it.",
    "recall": "Share of them that keep their true label.",
}
FRAMES: Mapping[str, str] = {
    "round": _ROUND,
    "client_id": "Whose message; empty of a broadcast.",
    "direction": "up, down, or catchup: what a client that was away received before.",
    "numel": "Numbers that the message holds.",
    "ideal_bits": "What an ideal coder without context would need; empty of a frame that does not decode.",
    "payload_bytes": "Bytes of the bodies: scales, positions, values, tables, padding.",
    "frame_bytes": "All bytes: 20, the records' headers and the bodies.",
    "nmse": "Squared length of what was lost over that of the update.",
}
LAYERS: Mapping[str, str] = {
    "round": _ROUND,
    "client_id": "Whose message: the first of the round.",
    "layer": "The tensor's name.",
    "numel": "Numbers that it holds.",
    "ideal_bits": "What an ideal coder would need for it.",
    "payload_bytes": "Bytes of its record's body.",
    "choice": "What a planner chose for the layer; empty where none did.",
}
WORK: Mapping[str, str] = {
    "round": "The round in which the message counts, or is given up, from 0.",
    "client_id": "The client.",
    "started": "The round in which it began: from that one's model.",
    "staleness": "How many rounds ago that was.",
    "begins": "When it began, in virtual seconds since the start of the run.",
    "work_seconds": "How long it worked, in virtual seconds: until its message was there, or was given up.",
    "counted": "Whether its message counts; else its work was for nothing.",
}
TIMINGS: Mapping[str, str] = {
    "round": _ROUND,
    "seconds": "Wall-clock seconds of the round.",
    "aggregation_seconds": "Those of pre-aggregation and defense.",
    "encode_seconds": "Those of encoding.",
    "decode_seconds": "Those of decoding.",
    "clients_per_second": "Clients of the cohort over seconds.",
}
AUDIT: Mapping[str, str] = {
    "client_id": "The canary.",
    "role": "present, absent or unseen. Their meanings: gauntlet explain role.",
    "score": "How well the model remembers it: a cosine.",
}
POSTERIOR: Mapping[str, str] = {
    "parameter": "The parameter's name and place.",
    "mean": "Mean over the samples.",
    "std": "Standard deviation over the samples.",
    "autocorrelation": "Of successive samples.",
    "effective_samples": "How many independent samples they are worth.",
}
PREDICTIVE: Mapping[str, str] = {
    "sample": "How many samples are averaged, from 1.",
    "log_likelihood": "Mean test log likelihood of this sample alone.",
    "predictive_log_likelihood": "That of the average of all samples up to it.",
    "predictive_accuracy": "Accuracy of that average.",
}
TABLES: Mapping[str, Mapping[str, str]] = {
    "rounds": ROUNDS,
    "clients": CLIENTS,
    "scores": SCORES,
    "classes": CLASSES,
    "outputs": OUTPUTS,
    "certificates": CERTIFICATES,
    "personal": PERSONAL,
    "fairness": FAIRNESS,
    "attacks": ATTACKS,
    "frames": FRAMES,
    "layers": LAYERS,
    "work": WORK,
    "timings": TIMINGS,
    "audit": AUDIT,
    "posterior": POSTERIOR,
    "predictive": PREDICTIVE,
}
