"""`ternary benchmark`: what it records is what the run would record, every part of it adds up, and bad input gets one line."""

import json
import statistics

import pytest
import torch
import yaml
from micro import OVERRIDES, ROOT, micro_config, ternary
from test_cli import assert_one_clear_line

from ternary_lib import benchmark, cli
from ternary_lib.benchmark import Bench, describe, measure
from ternary_lib.config import config_hash, load_config
from ternary_lib.coverage import MODES
from ternary_lib.data import split_indices
from ternary_lib.evaluation import evaluate_epoch
from ternary_lib.machine import threads
from ternary_lib.operations import NUM_OPERATIONS
from ternary_lib.training import train

TRIALS = 2
PARTS = {
    **dict.fromkeys((f"epoch.{name}" for name in (*benchmark.ALONE, "alone", "overlapped", "saving")), "s"),
    **dict.fromkeys(("decoder_a.samples", "decoder_b.samples"), "samples/s"),
    **dict.fromkeys((f"coverage_{p}.{mode}" for p in "ab" for mode in MODES), "%"),
    **dict.fromkeys(("latent_entropy_a", "latent_entropy_b"), "nats"),
    "memory.peak": "MB",
}


def nested(overrides):
    """Dotted keys as the mapping a YAML file holds."""
    found = {}
    for key, value in overrides.items():
        *parents, last = key.split(".")
        inner = found
        for name in parents:
            inner = inner.setdefault(name, {})
        inner[last] = value
    return found


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    """The micro configuration as a file."""
    path = tmp_path_factory.mktemp("benchmark") / "micro.yaml"
    path.write_text(yaml.safe_dump({"extends": str(ROOT / "configs" / "smoke.yaml"), **nested(OVERRIDES)}))
    return path


@pytest.fixture(scope="module")
def done(config_file):
    """One benchmark through the command line: the finished process and its record."""
    output = config_file.with_name("benchmark.json")
    process = ternary("benchmark", "--config", config_file, "--trials", TRIALS, "--output", output, "--seed", 7)
    assert process.returncode == 0, process.stderr
    return process, json.loads(output.read_text())


def test_the_record_says_what_was_measured_on_what(done, config_file):
    record = done[1]
    config = load_config(str(config_file), {"seed": 7})
    assert (record["name"], record["seed"], record["config_hash"]) == ("micro", 7, config_hash(config))
    assert (record["trials"], record["steps"], record["draws"]) == (TRIALS, 6, 2000)
    assert torch.__version__.startswith(record["versions"]["torch"])  # which may add the build: 2.13.0+cu130
    assert len(record["versions"]["torch"].split(".")) == 3 and record["hardware"]["cores"] >= 1
    assert record["threads"]["training"] == 1 and record["threads"]["evaluation"] >= 1
    assert record["step_path"] == "plain" and "24 steps" in record["step_path_reason"]
    assert record["started"] and record["device"] == "cpu"


def test_every_part_has_a_value_a_trial_and_its_median_and_range(done):
    parts = done[1]["parts"]
    assert {key: part["unit"] for key, part in parts.items()} == PARTS
    for part in parts.values():
        assert part["label"] and len(part["values"]) == TRIALS
        assert part["median"] == statistics.median(part["values"])
        assert (part["low"], part["high"]) == (min(part["values"]), max(part["values"]))


def test_parts_add_up_and_lie_in_their_ranges(done):
    parts = {key: part["values"] for key, part in done[1]["parts"].items()}
    for trial in range(TRIALS):
        whole = sum(parts[f"epoch.{name}"][trial] for name in benchmark.ALONE)
        assert parts["epoch.alone"][trial] == pytest.approx(whole, rel=1e-4)
        assert parts["epoch.overlapped"][trial] > parts["epoch.saving"][trial]
    for key, unit in PARTS.items():
        assert all(value > 0 for value in parts[key])
        assert unit != "%" or max(parts[key]) <= 100 * 2000 / NUM_OPERATIONS
    assert max(parts["memory.peak"]) < 8000


def test_a_table_is_printed_and_one_line_closes_the_progress(done):
    process, record = done
    for part in record["parts"].values():
        assert f"\n{part['label']} " in process.stdout
    assert "training step: plain (24 steps do not pay for compiling them)" in process.stdout
    assert describe(record) in process.stdout
    assert process.stdout.splitlines()[-1].startswith("Record: ")
    assert process.stderr.startswith("Measured just now: micro, seed 7") and process.stderr.count("\n") == 1


def test_it_trains_and_evaluates_as_a_run_does(tmp_path, one_thread):
    """The same epochs as ``train``: losses, coverage and entropies come out equal, not similar."""
    config = micro_config()
    run = train(config, tmp_path / "run", progress=False)
    record = measure(config, 1, progress=False)  # two epochs of warm-up, then epoch 2 by itself
    budget = config.evaluation.budgets[-1]
    for name in "ab":
        for mode in MODES:
            count = run.history[f"{name}.coverage.{mode}.{budget}"][2]
            assert record["parts"][f"coverage_{name}.{mode}"]["values"] == [pytest.approx(100 * count / NUM_OPERATIONS, rel=1e-5)]
        entropy = run.history[f"train.latent_entropy_{name}"][2]
        assert record["parts"][f"latent_entropy_{name}"]["values"] == [pytest.approx(entropy, rel=1e-5)]


def test_its_evaluation_is_that_of_an_epoch(tmp_path, monkeypatch, one_thread):
    """Every random stream that ``evaluate_epoch`` opens, in its order, and the same counts."""
    from ternary_lib import evaluation

    config = micro_config()
    bench = Bench(config, str(tmp_path))
    opened = {benchmark: [], evaluation: []}
    for module, names in opened.items():
        original = module.stream
        monkeypatch.setattr(module, "stream", lambda *a, _o=original, _n=names, **k: _n.append(a) or _o(*a, **k))
    (controls,), _ = bench.trainer.train_epoch(0)
    found = bench.evaluate(controls)
    row = evaluate_epoch(bench.model, config, controls, split_indices(config.data), workers=2)
    assert found == {f"coverage_{p}.{mode}": row[f"{p}.coverage.{mode}.2000"] for p in "ab" for mode in MODES}
    assert opened[benchmark] == opened[evaluation] and len(opened[evaluation]) == 4


def test_it_puts_threads_back_and_may_outlast_the_configured_epochs(tmp_path, one_thread):
    with threads(1):
        record = measure(micro_config(schedules__total_epochs=3, schedules__phases=[1, 1, 2]), 2, progress=False)
        assert torch.get_num_threads() == 1
    assert len(record["parts"]["epoch.steps"]["values"]) == 2  # six epochs trained where the schedules name three


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--trials", "0"], ["--trials 0", "from 1 to 1000"]),
        (["--trials", "-3"], ["--trials -3", "from 1 to 1000"]),
        (["--trials", "1001"], ["--trials 1001"]),
        (["--trials", "ten"], ["--trials ten"]),
        (["--trials", "²"], ["--trials ²"]),
        (["--trials", "1.5"], ["--trials 1.5"]),
        (["--seed", "-1"], ["seed"]),
        (["--output", "no_such_folder/b.json"], ["no_such_folder/b.json", "folder that exists"]),
        (["--output", "configs"], ["--output configs"]),
        (["--output", ""], ["--output", "expected something, got an empty word"]),
        (["--config", "configs/smoek.yaml"], ["did you mean 'configs/smoke.yaml'"]),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, words, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(benchmark, "measure", lambda *_: pytest.fail("it measured"))
    status = cli.main(["benchmark", "--config", "configs/smoke.yaml", *(f"{a}={b}" for a, b in [arguments])])
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (2, "", 1) and err.startswith("error: ")
    assert all(word in err for word in words)


def test_bad_input_as_a_user_meets_it():
    assert_one_clear_line(ternary("benchmark", "--config", "configs/smoke.yaml", "--trials", "0"), "--trials 0")
    asked = ternary("benchmark", "--config", "configs/smoke.yaml", TERNARY_STEP="faster")
    assert_one_clear_line(asked, "TERNARY_STEP=faster")


def test_without_an_output_the_record_goes_to_runs(tmp_path, monkeypatch, capsys):
    from ternary_lib import config

    monkeypatch.setattr(config, "WORK_ROOT", tmp_path)
    monkeypatch.setattr(benchmark, "measure", lambda config, trials: {"trials": trials})
    monkeypatch.setattr(benchmark, "describe", lambda record: "a table")
    assert cli.main(["benchmark", "--config", str(ROOT / "configs" / "smoke.yaml")]) == 0
    assert json.loads((tmp_path / "runs" / "benchmark-smoke-seed42.json").read_text()) == {"trials": 10}
    assert "a table" in capsys.readouterr().out


@pytest.mark.parametrize("value", [0.0, 5e-07, 0.012345, 99.98765, 100.0, 999.96, 1234567.0])
def test_numbers_are_spelt_without_powers(value):
    text = benchmark.spell(value)
    assert "e" not in text and not text.endswith(".")
    assert float(text.replace(",", "")) == pytest.approx(value, rel=6e-3, abs=1e-6)
