"""pythae's runs are ours in everything but the trainer, measured by our evaluation, and never made twice."""

import json

import pytest
import torch

from benchmarks import peer, peers
from ternary_lib import records, sweeps
from ternary_lib.comparison import METRICS
from ternary_lib.config import TrainingConfig, config_from_mapping
from ternary_lib.files import claimed
from ternary_lib.losses import cross_entropy, kl_divergence, total_loss
from ternary_lib.model import TernaryVAE
from ternary_lib.operations import all_operations
from ternary_lib.randomness import stream

pytestmark = pytest.mark.usefixtures("one_thread")
TASKS = peers.tasks()


def small(task, epochs=1):
    """The same task with few draws and epochs."""
    data = task.config.model_dump(mode="json")
    data["schedules"] |= {"total_epochs": epochs, "phases": [epochs] * 3}
    data["evaluation"] |= {"budgets": [1000, 2000], "final_draws": 3000, "cell_draws": 8192, "information_samples": 32}
    return task._replace(config=config_from_mapping(data))


def test_both_pathways_two_weights_five_seeds():
    assert len(TASKS) == len({peers.name_of(t) for t in TASKS}) == 20
    assert {(t.pathways, t.config.schedules.beta.start) for t in TASKS} == {(p, b) for p in (("a",), ("b",)) for b in peers.BETAS}


@pytest.mark.parametrize("task", sweeps.load_sweep(peers.SWEEP)[:6], ids=lambda t: t.variant)
def test_our_side_is_a_plain_beta_vae(task):
    """L_total is cross-entropy + β·KL of one pathway, at τ = 1 and ρ = 0, and nothing clips or steers it."""
    config, (name,) = task.config, task.pathways
    s, beta = config.schedules, config.schedules.beta.start
    assert (s.tau_a.start, s.tau_a.end, s.tau_a.amplitude, s.tau_a.boost) == (1, 1, 0, 0)
    assert (s.tau_b.start, s.tau_b.end, s.tau_b.boost) == (1, 1, 1)
    assert (s.rho.start, s.rho.consolidated, s.rho.final) == (0, 0, 0)
    assert s.learning_rate.values == (peer.LEARNING_RATE,) and config.training.batch_size == peer.BATCH_SIZE
    assert config.training.weight_decay == TrainingConfig().weight_decay and config.training.grad_clip >= 1e6
    assert (config.statenet.lambda_scale, config.statenet.lr_scale, config.balance.scale_bounds) == (0, 0, (1, 1))
    x = all_operations()[::400]
    output = TernaryVAE(config.model, stream(0, "weights"))(x, 1.0, 1.0, 0.0, stream(0, "noise"))
    side = getattr(output, name)
    loss = total_loss(output, x + 1, (beta, beta), torch.tensor(config.balance.lambdas), config=config.loss).total
    torch.testing.assert_close(loss, cross_entropy(side.logits, x + 1) + beta * kl_divergence(side.mu, side.logvar))


def test_the_networks_start_equal():
    task = TASKS[-1]
    (name,) = task.pathways
    ours = getattr(TernaryVAE(task.config.model, stream(task.config.seed, "weights")), f"pathway_{name}")
    theirs = peer.network(name, task.config.seed)
    assert all(torch.equal(p, q) for p, q in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_a_record_is_measured_as_a_run_of_ours_is(monkeypatch):
    """An untrained network in place of pythae's: the record's numbers are those of our own run before its first step."""
    from ternary_lib.evaluation import evaluate_final

    task = small(TASKS[0])
    monkeypatch.setattr(peer, "train_beta_vae", lambda name, beta, epochs, seed: peer.network(name, seed))
    monkeypatch.setattr(peers, "version", lambda name: "0.1.2")
    record = peers.run(task)
    (name,) = task.pathways
    model = TernaryVAE(task.config.model, stream(task.config.seed, "weights"))
    expected = evaluate_final(model, task.config, task.config.schedules.total_epochs - 1)[name]
    assert record["final"][name]["kl_to_uniform"] == pytest.approx(expected["kl_to_uniform"], rel=1e-8)
    assert "missed" not in record["final"][name] and record["pathways"] == [name]
    assert record["variant"] == f"pythae_{task.variant}" and record["label"].startswith("pythae's")
    assert all(isinstance(metric.value(record, name), float) for metric in METRICS.values())
    assert peers.finished(record, task) and not peers.finished(record, TASKS[0])
    assert not peers.finished(record | {"versions": record["versions"] | {"pythae": "0.1.1"}}, task)


def test_a_finished_run_is_not_repeated_and_a_broken_off_one_goes_on(tmp_path, monkeypatch):
    pytest.importorskip("pythae")
    made, path = [], tmp_path / "peers.json"

    def run(task):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(peers.name_of(task))
        versions = records.versions() | {"pythae": peers.version("pythae")}
        return {"config": task.config.model_dump(mode="json"), "numbers": records.NUMBERS, "versions": versions}

    monkeypatch.setattr(peers, "run", run)
    with pytest.raises(KeyboardInterrupt):
        peers.main(["--output", str(path), "--seeds", "0", "1"])
    assert list(json.loads(path.read_text())) == made[:3]
    made.append("")  # the fourth may go on now
    assert peers.main(["--output", str(path), "--seeds", "0", "1"]) == 0
    assert sorted(json.loads(path.read_text())) == sorted(peers.name_of(t) for t in TASKS if t.config.seed < 2)
    assert len(made) == 9 and len(set(made)) == 9


def test_without_pythae_one_line_names_the_fix(tmp_path, monkeypatch, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "pythae", None)
    assert peers.main(["--output", str(tmp_path / "none.json")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: pythae") and error.count("\n") == 1 and peer.FIX in error
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_kept_and_named_in_one_line(tmp_path, capsys):
    (tmp_path / "peers.json").write_text("{")
    assert peers.main(["--output", str(tmp_path / "peers.json")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "not readable as JSON" in line
    assert (tmp_path / "peers.json").read_text() == "{"


def test_two_at_once_do_not_overwrite_each_other(tmp_path, capsys):
    with claimed(tmp_path):
        assert peers.main(["--output", str(tmp_path / "peers.json")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "another process is at work there" in line and list(tmp_path.glob("*.json")) == []
