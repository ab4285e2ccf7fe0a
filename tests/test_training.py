"""Training as a whole: reproducible to the bit, resumable at any moment, honest about what it did."""

import json
import math
import os
import random
import shutil
import signal
import subprocess
import time

import pytest
import torch
from micro import ROOT, command, micro_arguments, micro_config, ternary

from ternary_lib import checkpoint, journal
from ternary_lib.cli import main
from ternary_lib.config import ConfigError
from ternary_lib.control import Controls
from ternary_lib.journal import load_run
from ternary_lib.machine import subnormals_flushed
from ternary_lib.step import STEP_COLUMNS, Dials, State, Step
from ternary_lib.training import Trainer, TrainingError, train, train_together

TIMES = ("seconds", "started", "library_commit")


def substance(record):
    """A record without what may differ between two runs of the same work."""
    return {key: value for key, value in record.items() if key not in TIMES}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """One uninterrupted run."""
    return train(micro_config(), tmp_path_factory.mktemp("reference") / "run", progress=False)


def test_two_processes_give_the_same_bits(reference, tmp_path):
    done = ternary(*micro_arguments("--run-dir", tmp_path / "run", "--quiet"))
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert substance(record) == json.loads(json.dumps(substance(reference.record)))
    assert record["weights_sha256"] == reference.record["weights_sha256"]


@pytest.mark.parametrize("workers", ["1", "2", "3"])
def test_the_number_of_threads_changes_no_bit(reference, tmp_path, monkeypatch, workers):
    """Steps run on one thread whatever is asked for; prior draws come in chunks with streams of their own, whoever decodes them."""
    monkeypatch.setenv("TERNARY_THREADS", workers)
    assert substance(train(micro_config(), tmp_path / "run", progress=False).record) == substance(reference.record)


def test_another_seed_gives_other_bits(reference, tmp_path):
    other = train(micro_config(seed=43), tmp_path / "run", progress=False)
    assert other.record["weights_sha256"] != reference.record["weights_sha256"]
    assert other.history["train.total"] != reference.history["train.total"]


@pytest.mark.parametrize(
    "overrides",
    [*({"statenet__signal": kind} for kind in ("loss", "hypergradient", "none", "random")), {"prior_matching": {"draws": 64}}],
    ids=lambda overrides: str(*overrides.values()),
)
def test_interrupted_between_any_two_epochs_and_resumed_is_the_same(tmp_path, monkeypatch, overrides):
    config = micro_config(**overrides)
    whole = train(config, tmp_path / "whole", progress=False)
    real = Trainer.train_epoch
    for stop in (1, 2, 3):
        with monkeypatch.context() as patched:
            patched.setattr(Trainer, "train_epoch", lambda self, epoch, stop=stop: _stop_at(real, self, epoch, stop))
            with pytest.raises(KeyboardInterrupt):
                train(config, tmp_path / f"stopped{stop}", progress=False)
        resumed = train(config, tmp_path / f"stopped{stop}", resume=True, progress=False)
        assert resumed.epochs_trained_now == 4 - stop
        assert "Resumed" in resumed.describe()
        assert substance(resumed.record) == substance(whole.record)


def _stop_at(real, trainer, epoch, stop):
    if epoch == stop:
        raise KeyboardInterrupt
    return real(trainer, epoch)


def test_killed_at_random_moments_and_resumed_is_the_same(reference, tmp_path):
    run_dir, kills, rng = tmp_path / "run", 0, random.Random(7)
    for _ in range(12):
        process = subprocess.Popen(
            command(*micro_arguments("--run-dir", run_dir, "--resume", "--quiet")),
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + rng.uniform(3.0, 6.0)
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        _, errors = process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors
        assert not (run_dir / "record.json").exists() or json.loads((run_dir / "record.json").read_text())
    final = train(micro_config(), run_dir, resume=True, progress=False)
    assert kills > 0
    assert substance(final.record) == substance(reference.record)


def test_a_finished_run_is_loaded_and_says_so(reference):
    again = train(micro_config(), reference.run_dir, resume=True, progress=False)
    assert again.epochs_trained_now == 0
    assert again.describe().startswith("Loaded, not trained now")
    assert again.history == reference.history
    x = torch.ones(1, 9)
    with torch.inference_mode():
        expected = reference.model(x, 0, 0, 0.5).b.logits
        assert torch.equal(again.model(x, 0, 0, 0.5).b.logits, expected)


def test_every_column_has_an_entry_an_epoch(reference):
    assert {len(column) for column in reference.history.values()} == {4}
    assert set(Controls.__dataclass_fields__) <= set(reference.history)
    for name in ("train.total", "validation.total", "a.rate", "b.exact_test", "a.coverage.categorical.2000"):
        assert all(math.isfinite(value) for value in reference.history[name])
    assert "a.coverage.argmax.3000" not in reference.history  # the last epoch's own budget is in the record only
    assert reference.record["final"]["a"]["coverage.argmax.3000"] == 19_683 - len(reference.record["final"]["a"]["missed"])
    assert reference.record["untrained"]["b"]["coverage.argmax.3000"] > 0


def test_measured_every_kth_epoch_the_same_network_is_trained(reference, tmp_path):
    sparse = train(micro_config(evaluation__every=3), tmp_path / "run", progress=False)
    assert sparse.history["epoch"] == [2, 3]
    assert sparse.record["weights_sha256"] == reference.record["weights_sha256"]
    assert sparse.record["final"] == reference.record["final"]
    for name, column in sparse.history.items():
        assert column == reference.history[name][2:], name
    assert "4 epochs" in sparse.describe()


def test_interrupted_between_two_measurements_a_run_goes_on_from_the_earlier_one(tmp_path, monkeypatch):
    config = micro_config(evaluation__every=2)
    whole, real = train(config, tmp_path / "whole", progress=False), Trainer.train_epoch
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "train_epoch", lambda self, epoch: _stop_at(real, self, epoch, 3))
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "stopped", progress=False)
    resumed = train(config, tmp_path / "stopped", resume=True, progress=False)
    assert resumed.epochs_trained_now == 2
    assert substance(resumed.record) == substance(whole.record)


def test_a_last_budget_that_is_also_every_epochs_stays_in_the_history(tmp_path):
    run = train(micro_config(evaluation__final_draws=2000, schedules__total_epochs=2), tmp_path / "run", progress=False)
    assert len(run.history["a.coverage.argmax.2000"]) == 2


def test_kept_checkpoints(reference):
    names = {path.name for path in reference.run_dir.iterdir()}
    checkpoints = {"last.safetensors", "best.safetensors", "epoch_0002.safetensors", "epoch_0004.safetensors"}
    assert names == checkpoints | {"record.json", "config.yaml"}
    _, meta = checkpoint.load(reference.run_dir / "best.safetensors")
    assert meta["epoch"] - 1 == reference.record["best_epoch"]
    assert reference.record["best_validation_loss"] == min(reference.history["validation.total"])


def test_refusals_are_one_line_and_touch_nothing(reference, tmp_path):
    before = {path: path.read_bytes() for path in reference.run_dir.iterdir()}
    with pytest.raises(ConfigError, match="already holds a run"):
        train(micro_config(), reference.run_dir, progress=False)
    with pytest.raises(ConfigError, match=r"schedules\.tau_a\.boost is 0\.5 there and 0\.4 here"):
        train(micro_config(schedules__tau_a__boost=0.4), reference.run_dir, resume=True, progress=False)
    assert before == {path: path.read_bytes() for path in reference.run_dir.iterdir()}


def test_a_run_of_other_code_is_refused(reference, monkeypatch):
    monkeypatch.setattr(journal.records, "source_hash", lambda: "0" * 64)
    with pytest.raises(ConfigError, match="other code"):
        train(micro_config(), reference.run_dir, resume=True, progress=False)


@pytest.mark.parametrize(("broken_epoch", "broken_step", "term", "value"), [(0, 0, "kl_a", math.nan), (2, 1, "ce_b", math.inf)])
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_state(
    tmp_path, monkeypatch, broken_epoch, broken_step, term, value
):
    """The term that broke is named, not the sums that it is part of, nor a later step."""
    real = Step.__call__

    def broken(self, state, batch, dials):
        values = real(self, state, batch, dials)
        steps = math.ceil(self.config.data.train / self.config.training.batch_size)  # an epoch
        if state.powers[0, 0] < 0.9 ** (broken_epoch * steps + broken_step + 0.5):
            values[:, [STEP_COLUMNS.index(name) for name in ("total", f"loss_{term[-1]}", term)]] = value
        return values

    monkeypatch.setattr(Step, "__call__", broken)
    kept = f"the last good state, of {broken_epoch} epochs, is in last.safetensors" if broken_epoch else "nothing was saved before it"
    with pytest.raises(TrainingError, match=rf"epoch {broken_epoch}, step {broken_step} of \d+, seed 42: {term} is {value}; {kept}"):
        train(micro_config(), tmp_path / "run", progress=False)
    if broken_epoch:
        _, meta = checkpoint.load(tmp_path / "run" / "last.safetensors")
        assert meta["epoch"] == broken_epoch
    else:
        assert not (tmp_path / "run" / "last.safetensors").exists()


def test_a_record_without_its_weights_is_not_written_over(reference, tmp_path):
    (tmp_path / "record.json").write_bytes((reference.run_dir / "record.json").read_bytes())
    with pytest.raises(ConfigError, match=r"holds record\.json but no last\.safetensors"):
        train(micro_config(), tmp_path, resume=True, progress=False)


def test_an_unfinished_run_is_finished_whatever_record_lies_beside_it(reference, tmp_path):
    for name, source in (("last.safetensors", "epoch_0002.safetensors"), ("record.json", "record.json")):
        (tmp_path / name).write_bytes((reference.run_dir / source).read_bytes())
    run = train(micro_config(), tmp_path, resume=True, progress=False)
    assert run.epochs_trained_now == 2
    assert substance(run.record) == substance(reference.record)


def test_a_record_of_other_weights_is_not_taken_for_the_runs_own(reference, tmp_path):
    shutil.copytree(reference.run_dir, tmp_path / "run")
    other = train(micro_config(seed=43), tmp_path / "other", progress=False)
    shutil.copy(other.run_dir / "record.json", tmp_path / "run")
    with pytest.raises(ConfigError, match="expected weights_sha256 to be that of last"):
        train(micro_config(), tmp_path / "run", resume=True, progress=False)
    (tmp_path / "run" / "record.json").unlink()  # as the line advises
    again = train(micro_config(), tmp_path / "run", resume=True, progress=False)
    assert substance(again.record) == substance(reference.record)


def test_an_unfinished_run_is_held_whatever_record_lies_beside_it(reference, tmp_path, holder):
    shutil.copytree(reference.run_dir, tmp_path / "run")
    holder(tmp_path / "run")
    assert train(micro_config(), tmp_path / "run", resume=True, progress=False).epochs_trained_now == 0  # a finished one is read by all
    shutil.copy(tmp_path / "run" / "epoch_0002.safetensors", tmp_path / "run" / "last.safetensors")
    with pytest.raises(ConfigError, match="another process is at work there"):
        train(micro_config(), tmp_path / "run", resume=True, progress=False)


def test_a_configuration_that_lies_there_already_is_not_written_over(tmp_path):
    own = tmp_path / "config.yaml"
    own.write_text("name: mine\n")
    with pytest.raises(ConfigError, match="is there already and of another run"):
        train(micro_config(), tmp_path, progress=False)
    assert own.read_text() == "name: mine\n" and [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_weights_of_somebodys_own_are_not_written_over(reference, tmp_path):
    shutil.copy(reference.run_dir / "best.safetensors", tmp_path)  # of this very run: it may have been killed in its first epoch
    assert train(micro_config(), tmp_path, progress=False).epochs_trained_now == 4
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "best.safetensors").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="is there already and of another run"):
        train(micro_config(), tmp_path / "other", progress=False)
    assert (tmp_path / "other" / "best.safetensors").read_bytes() == b"mine"


def test_a_model_whose_checkpoints_could_not_be_read_is_not_trained(tmp_path):
    with pytest.raises(ConfigError, match="at most 256 are read"):
        train(micro_config(model__decoder_b_width=2600), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("more", [{}, {"evaluation__every": 3}, {"data__train": 17_683, "data__validation": 2_000}])
def test_the_columns_of_a_history_are_known_before_it_is_made(tmp_path, more):
    config = micro_config(schedules__total_epochs=3, schedules__phases=[1, 2, 3], **more)
    history = train(config, tmp_path, progress=False).history
    assert {name: type(values[-1]) for name, values in history.items()} == journal.columns(config)


def test_published_and_deterministic_configurations_train(tmp_path):
    published = micro_config(
        loss__repulsion="off_diagonal", loss__latent_entropy="hard", statenet__signal="none",
        balance__lambda_step=0.02, balance__initial_norm=1.0, balance__norm_after_clip=True,
        schedules__lambda_3={"base": 0.3}, schedules__rho__gate="fall_back", training__deterministic=True,
    )  # fmt: skip
    run, again = (train(published, tmp_path / name, progress=False) for name in ("run", "again"))
    assert run.history["lambda_3"][1] != run.history["lambda_3"][0]
    assert substance(run.record) == substance(again.record)
    assert not torch.are_deterministic_algorithms_enabled(), "the setting must be put back"


def test_settings_of_the_process_are_put_back(tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        train(micro_config(schedules__total_epochs=1), tmp_path / "run", progress=False)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


# --- seeds trained together --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Three seeds stacked, without interruption."""
    root = tmp_path_factory.mktemp("together")
    configs = [micro_config(seed=seed) for seed in (42, 43, 44)]
    return train_together(configs, [root / str(config.seed) for config in configs], progress=False)


def test_a_stack_trains_each_seed_as_its_lone_run(reference, together):
    """Same random numbers, same steps: what differs is rounding, which 96 steps have had time to carry on."""
    for name in ("train.total", "train.ce_b", "train.grad_norm_a", "validation.total", "a.rate", "b.distortion"):
        assert together[0].history[name] == pytest.approx(reference.history[name], rel=2e-2), name
    assert together[1].history["train.total"] != pytest.approx(together[0].history["train.total"], rel=1e-4)
    assert [run.record["seed"] for run in together] == [42, 43, 44]


def test_a_stack_resumes_to_the_same_bits_and_each_seed_can_go_on_alone(together, tmp_path, monkeypatch):
    configs = [run.config for run in together]
    real = Trainer.train_epoch
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "train_epoch", lambda self, epoch: _stop_at(real, self, epoch, 2))
        with pytest.raises(KeyboardInterrupt):
            train_together(configs, [tmp_path / str(c.seed) for c in configs], progress=False)
    shutil.copytree(tmp_path / "43", tmp_path / "alone")
    resumed = train_together(configs, [tmp_path / str(c.seed) for c in configs], resume=True, progress=False)
    for run, whole in zip(resumed, together, strict=True):
        assert substance(run.record) == substance(whole.record)
    alone = train(configs[1], tmp_path / "alone", resume=True, progress=False)
    assert alone.history["train.total"] == pytest.approx(together[1].history["train.total"], rel=2e-2)
    assert train_together(configs, [tmp_path / str(c.seed) for c in configs], resume=True, progress=False)[2].epochs_trained_now == 0


def test_a_stack_refuses_what_is_not_the_same_but_for_the_seed(tmp_path):
    for other in (micro_config(), micro_config(seed=43, loss__free_bits=0.1)):
        with pytest.raises(ConfigError, match="differ in their seed and in nothing else"):
            train_together([micro_config(), other], [tmp_path / "a", tmp_path / "b"], progress=False)
    assert list(tmp_path.iterdir()) == []


def test_evaluate_gives_the_recorded_numbers(reference):
    """The last row measured again from the checkpoint alone equals the recorded one."""
    done = ternary("evaluate", "--checkpoint", reference.run_dir / "last.safetensors", "--json")
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    for name, column in reference.history.items():
        if name in row:
            assert row[name] == column[-1], name
    assert load_run(reference.run_dir).record["final"]["b"]["coverage.argmax.3000"] == row["b.coverage.argmax.3000"]


DIVERGING = {"training__weight_decay": 1e30}, {"loss__repulsion_sigma": 1e-30}, {"schedules__tau_a": {"start": 1e30, "end": 1e30}}


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_a_checkpoint_of_broken_weights_is_not_measured(reference, tmp_path, capsys, value):
    tensors, meta = checkpoint.load(reference.run_dir / "last.safetensors")
    name = "model/pathway_a.encoder.mu.weight"
    assert name in tensors
    checkpoint.save(tmp_path / "broken.safetensors", tensors | {name: torch.full_like(tensors[name], value)}, meta)
    assert main(["evaluate", "--checkpoint", str(tmp_path / "broken.safetensors"), "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "gives no finite numbers" in err and err.count("\n") == 1


@pytest.mark.parametrize("settings", DIVERGING, ids=str)
@pytest.mark.parametrize("latent_entropy", ["soft", "hard"])
def test_a_training_that_really_diverges_says_where(tmp_path, settings, latent_entropy):
    with pytest.raises(TrainingError, match=r"^epoch 0, step \d+ of \d+, seed 42: \S+ is (nan|inf|-inf); nothing was saved before it"):
        train(micro_config(loss__latent_entropy=latent_entropy, **settings), tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "last.safetensors").exists() and not (tmp_path / "run" / "record.json").exists()


def test_weights_that_an_epochs_last_step_broke_are_not_saved(tmp_path):
    """One step an epoch: the loss is still a number when the weights no longer are."""
    config = micro_config(training__batch_size=1536, schedules__learning_rate__values=[1e4] * 3)
    with pytest.raises(TrainingError, match=r"^epoch \d, (after its last step|step 0 of 1), seed 42: \S+ is (nan|inf)") as caught:
        train(config, tmp_path / "run", progress=False)
    last = tmp_path / "run" / "last.safetensors"
    if "nothing was saved" in str(caught.value):
        assert not last.exists()
    else:
        tensors, _ = checkpoint.load(last)
        assert all(torch.isfinite(value).all() for name, value in tensors.items() if name.startswith(("model/", "history/validation")))


@pytest.mark.parametrize("name", ["model/statenet.encoder.0.weight", "optimizer/exp_avg_sq", "controller/lambdas"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_state_that_is_not_finite_is_not_saved(tmp_path, name, value):
    """Every loss may be a number while StateNet, its weights or an average no longer are: from there nothing could go on."""
    config = micro_config()
    trainer, log = Trainer(config, "plain"), journal.Journal(config, tmp_path, "plain")
    log.untrained = {"none": 0}
    controls, means = trainer.train_epoch(0)
    log.close_epoch(trainer.snapshot(), controls[0], means[0])
    good = (tmp_path / "last.safetensors").read_bytes()
    controls, means = trainer.train_epoch(1)
    broken = trainer.snapshot()
    broken[name].view(-1)[0] = value
    with pytest.raises(TrainingError, match=rf"^epoch 1, after its last step, seed 42: {name} is {value}; the last good state, of 1 epo"):
        log.close_epoch(broken, controls[0], means[0])
    assert (tmp_path / "last.safetensors").read_bytes() == good


@pytest.mark.parametrize("every", [1, 3])
def test_a_correction_that_is_not_finite_is_named_before_a_step_is_taken(tmp_path, every):
    config = micro_config(statenet__learning_rate=1e29, evaluation__every=every)
    words = r"epoch 2, before its first step, seed 42: lambda_1 is nan; .*; smaller numbers of statenet are the first thing to try$"
    with pytest.raises(TrainingError, match=words):
        train(config, tmp_path / "run", progress=False)


def test_a_pathway_that_gets_no_gradient_is_named(tmp_path):
    weights = {"lambdas": [0.7, 0.0, 0.0], "lambda_bounds": [[0.5, 0.95], [0.0, 0.0], [0.0, 0.0]], "scale_bounds": [1.0, 1.0]}
    alone = {"start": 0.0, "consolidated": 0.0, "final": 0.0}
    record = train(micro_config(balance=weights, schedules__rho=alone), tmp_path / "run", progress=False).record
    assert "pathway B gets no gradient: its mean norm is 0 in epoch 3 (below 1e-06 in epochs 0 to 3)" in record["warnings"]
    assert not any("pathway A gets no gradient" in line for line in record["warnings"])


def test_sigterm_ends_a_training_as_ctrl_c_does(tmp_path):
    config = ("--set=schedules.total_epochs=400", "--set=schedules.phases=[100, 200, 300]", "--run-dir", tmp_path / "run", "--quiet")
    process = subprocess.Popen(command(*micro_arguments(*config)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "run" / "last.safetensors").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, "")
    assert err.startswith("error: terminated; go on with: ternary train ") and err.count("\n") == 1
    assert not (tmp_path / "run" / ".lock").exists() and not list((tmp_path / "run").glob(".*.tmp"))


def test_subnormal_numbers_count_as_zero_within_and_nowhere_else():
    tiny = torch.full((16,), 1e-39)
    with subnormals_flushed():
        with subnormals_flushed():
            assert not (tiny * 1).any()
        assert not (tiny * 1).any()
    assert (tiny * 1).all()
    with pytest.raises(ZeroDivisionError), subnormals_flushed():
        raise ZeroDivisionError
    assert (tiny * 1).all()


def test_flushing_subnormal_averages_moves_no_weight():
    """Averages of vanished gradients are subnormal; whether they count as zero, no weight and no figure of a step hears of it."""
    trainer = Trainer(micro_config())
    controls, _ = trainer.train_epoch(0)
    state, dials = trainer.state, Dials.of(controls, trainer.device)
    state.exp_avg[:, ::2], state.exp_avg_sq[:, ::4] = 1e-39, 3e-40
    flushed = State(*(part.clone() for part in state))
    for batch in trainer._batches()[:4]:
        kept = trainer.step(state, batch, dials)
        with subnormals_flushed():
            assert torch.equal(trainer.step(flushed, batch, dials), kept)
    assert torch.equal(flushed.theta, state.theta)
    assert not torch.equal(flushed.exp_avg, state.exp_avg)  # there were some to flush
