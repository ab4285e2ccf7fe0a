"""What version 6 is held against: kept epochs measured as the run itself measured them, warm-ups, and parts made once."""

import pytest
from micro import micro_config

from benchmarks import limit
from ternary_lib import records
from ternary_lib.evaluation import PATHWAYS
from ternary_lib.training import train

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(micro_config(), tmp_path_factory.mktemp("kept") / "run", progress=False)


@pytest.fixture
def small(monkeypatch):
    """The recipe, the seeds and the clock's seeds as small as they can be."""
    real = limit.load_config
    size = {"data.train": 512, "data.validation": 64, "schedules.total_epochs": 2, "schedules.phases": [1, 2, 2]}
    size |= {"evaluation.budgets": [100], "evaluation.cell_draws": 1000, "evaluation.final_draws": 100, "evaluation.information_samples": 8}
    size |= {"prior_matching.draws": 16}
    monkeypatch.setattr(limit, "load_config", lambda path, overrides=None, seed=None: real(path, size | (overrides or {}), seed))
    monkeypatch.setattr(limit, "PROBED", range(110, 112))
    monkeypatch.setattr(limit, "TIMED", (50,))


def test_kept_epochs_are_measured_as_the_run_measured_them(run):
    found = limit.kept_epochs(run.run_dir)
    assert found["weights_sha256"] == run.record["weights_sha256"]
    assert list(found["epochs"]) == ["1", "3"]  # two checkpoints in four epochs
    for p in PATHWAYS:
        last, history = found["epochs"]["3"][p], run.history
        assert last == {name: run.record["final"][p][name] for name in limit.KEPT}
        assert found["epochs"]["1"][p]["exact_all"] == history[f"{p}.exact_all"][1]
        assert found["epochs"]["1"][p]["neg_elbo"] == history[f"{p}.neg_elbo"][1]
        assert found["epochs"]["1"][p]["kl_to_uniform"] != last["kl_to_uniform"]


def test_a_run_without_kept_epochs_is_refused_in_one_line(tmp_path, capsys, small, monkeypatch):
    monkeypatch.setattr(limit, "parts", lambda run_dir: {"sources": lambda: limit.kept_epochs(run_dir)})
    assert limit.main(["--run", str(tmp_path), "--output", str(tmp_path / "limit.json")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and "epoch_*" in error
    assert not (tmp_path / "limit.json").exists()


def test_each_part_is_made_once_and_says_on_what_machine(tmp_path, run, small, capsys):
    path = tmp_path / "limit.json"
    assert limit.main(["--output", str(path)]) == 0
    found = records.read_json(path)
    assert set(found) == {"seconds", "warm_up 0.1", "warm_up 0.02"}
    assert set(found["seconds"]["found"]) == {"50"} and 0 <= found["seconds"]["found"]["50"] < 60
    assert all(part["hardware"]["cores"] >= 1 for part in found.values())
    assert limit.main(["--run", str(run.run_dir), "--output", str(path)]) == 0
    more = records.read_json(path)
    assert more.pop("sources")["found"]["epochs"].keys() == {"1", "3"}
    assert more == found
    assert capsys.readouterr().out.count(" s\n") == 4


def test_a_warm_up_is_its_start_of_beta_and_its_seed(small):
    seed = limit.PROBED[0]
    first = limit.warm_up(0.1, seed)
    assert len(first) == 2 and all(0 <= value <= 1 for value in first)
    assert limit.warm_up(0.1, seed) == first
    seen = []
    real = limit.Trainer

    class Watched(real):
        def train_epoch(self, epoch):
            seen.append((self.configs[0].schedules.beta.start, self.configs[0].seed, epoch))
            return super().train_epoch(epoch)

    limit.Trainer = Watched
    try:
        limit.warm_up(0.02, seed + 1)
    finally:
        limit.Trainer = real
    assert seen == [(0.02, seed + 1, 0)]  # phase 1 of this size is one epoch
