"""A run with canaries: its verdict, its tables, and the same bits after a stop."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from gauntlet.core.errors import ResultsError, ScenarioError
from gauntlet.server.simulation import prepare
from gauntlet.sims.audits import AuditTrail
from gauntlet.sims.run import resume, simulate

PRIVATE = {
    "privacy": {"name": "gaussian", "clip_norm": 0.5, "noise_multiplier": 8.0, "delta": 1e-5},
    "defense": {"name": "mean", "weighting": "fixed"},
}
ONE_SHOT = {"name": "one_shot_canaries", "num_canaries": 20}
MAX = {"name": "one_shot_canaries", "num_canaries": 10, "num_unseen": 10, "statistic": "max"}


def test_a_run_is_judged_beside_its_accountant(tiny, tmp_path):
    run = simulate(tiny(**PRIVATE, audit=ONE_SHOT), tmp_path / "run")
    table = pd.read_parquet(tmp_path / "run" / "audit.parquet")

    assert run.audit["epsilon"] == pytest.approx(run.manifest["epsilon"]["value"])
    assert (run.audit["audit"], run.audit["num_canaries"], run.audit["delta"]) == (
        "one_shot_canaries",
        20,
        1e-5,
    )
    assert 0 <= run.audit["epsilon_audit_low"] <= run.audit["epsilon"]
    assert run.audit["refuted"] is False
    assert table["client_id"].tolist() == list(range(6, 26))
    assert table["score"].mean() == pytest.approx(run.audit["details"]["mean"])


def test_a_run_whose_noise_is_forgotten_is_refuted(tiny, tmp_path):
    """The noise that the accountant was told of never reaches the model."""
    scenario = tiny(**PRIVATE, audit={**ONE_SHOT, "num_canaries": 60}, model={"name": "mlp", "hidden": [64]})
    simulation = prepare(scenario.run_spec())

    class Forgetful:
        def __getattr__(self, name):
            return getattr(simulation.plan.privacy, name)

        def noise(self, aggregate, expected_size, state, stream):
            return aggregate, state

    broken = replace(simulation, plan=replace(simulation.plan, privacy=Forgetful()))
    for each, refuted in ((simulation, False), (broken, True)):
        folder = tmp_path / str(refuted)
        folder.mkdir()
        *_, last = each.steps(each.serial_pool())
        AuditTrail(each, folder, 0).finish(last.state, each.plan.accountant.epsilon(last.state.ledger))
        assert json.loads((folder / "audit.json").read_text())["refuted"] is refuted


def test_canaries_are_told_apart_from_clients_in_the_tables(tiny, tmp_path):
    run = simulate(tiny(**PRIVATE, audit=ONE_SHOT), tmp_path / "run")
    people = run.clients.groupby("truth")["client_id"].unique()

    assert people["honest"].tolist() == list(range(6))
    assert people["canary"].tolist() == list(range(6, 26))
    canaries = run.clients[run.clients["truth"] == "canary"]
    assert canaries["train_loss"].isna().all()
    assert canaries["raw_norm"].isna().all()
    assert run.rounds["train_loss"].notna().all()
    assert run.rounds["true_negatives"].tolist() == [6] * 4


@pytest.mark.parametrize("audit", [ONE_SHOT, MAX, {"name": "one_run", "num_canaries": 20}])
@pytest.mark.parametrize("rounds", [2, 3])
def test_a_stopped_run_ends_with_the_same_verdict(tiny, tmp_path, audit, rounds):
    """Stopped in round 2 or 3, with a checkpoint after round 2."""
    scenario = tiny(**PRIVATE, audit=audit)
    whole = simulate(scenario, tmp_path / "whole")

    class Stop(Exception):
        pass

    class Stopper:
        def __getattr__(self, name):
            def listen(run, round_, *rest):
                if name == "advance" and round_ == rounds:
                    raise Stop

            return listen if name == "advance" else lambda *_: None

    with pytest.raises(Stop):
        simulate(scenario, tmp_path / "stopped", Stopper())
    assert not (tmp_path / "stopped" / "audit.json").exists()
    resume(tmp_path / "stopped")

    for name in ("audit.json", "audit.parquet"):
        assert (tmp_path / "stopped" / name).read_bytes() == (whole.folder / name).read_bytes()


def test_the_largest_cosine_is_that_of_some_round(tiny, tmp_path):
    run = simulate(tiny(**PRIVATE, audit=MAX), tmp_path / "run")
    table = pd.read_parquet(tmp_path / "run" / "audit.parquet")

    assert table["role"].value_counts().to_dict() == {"present": 10, "unseen": 10}
    assert run.audit["details"]["unseen_mean"] > 0  # the largest of four draws around 0
    assert (table["score"] > -1).all()


@pytest.mark.parametrize(
    "down", [{"codec_down": {"name": "topk", "density": 0.1}}, {"server": {"name": "trap_weights"}}], ids=str
)
def test_canaries_are_looked_for_in_the_servers_own_step_whatever_goes_down(tiny, tmp_path, down):
    noiseless = {**PRIVATE["privacy"], "noise_multiplier": 0.0}
    found = {}
    for name, sent in {"plain": {}, "other": down}.items():
        run = simulate(tiny(**{**PRIVATE, "privacy": noiseless}, audit=MAX, **sent), tmp_path / name)
        found[name] = run.audit["details"]["mean"]
    assert found["other"] == pytest.approx(found["plain"], rel=0.2)


def test_a_run_without_an_audit_has_none(tiny, tmp_path):
    run = simulate(tiny(**PRIVATE), tmp_path / "run")
    assert run.audit is None
    assert not list(run.folder.glob("audit.*"))


def test_an_audit_without_any_delta_is_refused_before_anything_is_written(tiny, tmp_path):
    clipped = {"name": "gaussian", "clip_norm": 0.5, "noise_multiplier": 0.0}
    with pytest.raises(ScenarioError, match="audit 'one_shot_canaries' needs a delta"):
        simulate(tiny(privacy=clipped, audit=ONE_SHOT), tmp_path / "run")
    assert not (tmp_path / "run").exists()

    audited = simulate(tiny(privacy=clipped, audit={**ONE_SHOT, "delta": 1e-5}), tmp_path / "run")
    assert audited.audit["epsilon"] is None
    assert audited.audit["refuted"] is False


def test_scores_that_do_not_fit_the_audit_are_refused(tiny, tmp_path):
    folder = simulate(tiny(**PRIVATE, audit=MAX), tmp_path / "run").folder
    other = prepare(tiny(**PRIVATE, audit={**MAX, "num_unseen": 5}).run_spec())
    with pytest.raises(ResultsError, match="holds 20 scores, expected 15"):
        AuditTrail(other, folder, 2)
    (folder / "audit.parquet").write_bytes(b"torn")
    with pytest.raises(ResultsError, match="cannot be read"):
        AuditTrail(other, folder, 2)
