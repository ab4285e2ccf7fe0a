"""The public code is run as it stands and measured as ours: shown on a stand-in with its layout, since it is not part of this project."""

import hashlib
import os
import subprocess
import sys
import textwrap

import pytest
import torch

from benchmarks import original
from ternary_lib import ledger, records, sweeps
from ternary_lib.config import ConfigError, config_from_mapping
from ternary_lib.data import split_indices
from ternary_lib.operations import NUM_OPERATIONS, all_operations

pytestmark = pytest.mark.usefixtures("one_thread")

MODEL = """
    import torch
    from ternary_lib.config import ModelConfig
    from ternary_lib.model import TernaryVAE

    class Net(torch.nn.Module):  # its layers in the order of the public code's, which is ours
        def __init__(self):
            super().__init__()
            self.parts = TernaryVAE(ModelConfig())
            self.rho, self.lambda1, self.lambda2, self.lambda3, self.grad_balance_achieved = 0.1, 0.7, 0.6, 0.3, True
        encoder_A = property(lambda self: self.parts.pathway_a.encoder)
        encoder_B = property(lambda self: self.parts.pathway_b.encoder)
        decoder_A = property(lambda self: self.parts.pathway_a.decoder)
        decoder_B = property(lambda self: self.parts.pathway_b.decoder)
        def sample(self, n, device, vae):
            with torch.no_grad():
                logits = getattr(self, f"decoder_{vae}")(torch.randn(n, 16, device=device))
            return (torch.softmax(logits, -1) * torch.tensor([-1.0, 0.0, 1.0])).sum(-1)
"""
SCRIPT = """
    import argparse, hashlib, itertools, pathlib
    import torch, yaml
    from torch.utils.data import random_split
    from models.ternary_vae_v5_5 import Net

    class Tables(torch.utils.data.Dataset):
        def __init__(self):  # the first entry turns fastest, as in the public code
            self.operations = torch.tensor([t[::-1] for t in itertools.product((-1.0, 0.0, 1.0), repeat=9)])
        def __len__(self):
            return len(self.operations)
        def __getitem__(self, i):
            return self.operations[i]

    class DNVAETrainerV5:
        phase_4_start, device = 250, "cpu"
        def __init__(self, config):
            self.config, self.model, self.seen = config, Net(), []
        def train_epoch(self, loader, epoch):
            self.epoch = epoch
            with torch.no_grad():
                next(self.model.parameters()).add_(torch.randn(()))
            names = "loss loss_A loss_B ce_A kl_A ce_B kl_B entropy_B repulsion_B entropy_align H_A H_B"
            names += " delta_lr delta_lambda1 delta_lambda2 delta_lambda3"
            given = dict(temp_A=1.1, temp_B=0.9, beta_A=0.6, beta_B=0.4, lr_scheduled=1e-3, lr_corrected=2e-3)
            return dict.fromkeys(names.split(), 0.25) | given | dict(grad_ratio=1.5, ema_momentum=0.5)
        def validate(self, loader):
            return {"loss": 3.0 - self.epoch}
        def evaluate_coverage(self, n, vae):
            found = {tuple(t) for _ in range(n // 1000) for t in torch.round(self.model.sample(1000, "cpu", vae)).tolist()}
            return len(found), 0.0
        def save_checkpoint(self, is_best=False):
            (pathlib.Path(self.config["checkpoint_dir"]) / "saved").write_text("")
        def train(self, *loaders):
            for epoch in range(self.config["total_epochs"]):
                self.train_epoch(loaders[0], epoch), self.validate(loaders[1])
                self.seen.append([self.evaluate_coverage(self.config["eval_num_samples"], vae)[0] for vae in "AB"])
                self.save_checkpoint(True)
                if self.config["patience"] <= epoch:
                    break
            weights = b"".join(p.detach().numpy().tobytes() for p in self.model.parameters())
            pathlib.Path(self.config["told"]).write_text(f"{self.seen} {hashlib.sha256(weights).hexdigest()}")

    def main():
        parser = argparse.ArgumentParser()
        parser.add_argument("--config")
        with open(parser.parse_args().config) as f:
            config = yaml.safe_load(f)
        print("words of its own")
        torch.manual_seed(config["seed"])
        data = Tables()
        train, val, test = random_split(data, [15746, 1968, 1969], generator=torch.Generator().manual_seed(config["seed"]))
        DNVAETrainerV5(config).train(train, val)
"""


@pytest.fixture
def code(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.delitem(sys.modules, "models.ternary_vae_v5_5", raising=False)
    monkeypatch.delitem(sys.modules, "models", raising=False)
    config = f"total_epochs: 2\neval_num_samples: 2000\npatience: 0\ntold: {tmp_path / 'told'}\n"
    for name, text in ((original.MODEL, MODEL), (original.SCRIPT, SCRIPT), (original.CONFIG, config)):
        path = tmp_path / "code" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    own = {name: hashlib.sha256((tmp_path / "code" / name).read_bytes()).hexdigest() for name in original.SHA256}
    monkeypatch.setattr(original, "SHA256", own)
    return tmp_path / "code"


def small(task):
    data = task.config.model_dump(mode="json")
    data["evaluation"] |= {"budgets": [1000, 2000], "final_draws": 3000, "cell_draws": 8192, "information_samples": 32}
    return task._replace(config=config_from_mapping(data))


def test_five_runs_stand_beside_the_rebuilt_ones():
    tasks = sweeps.originals()
    assert [task.run for task in tasks] == [f"original-seed{seed}" for seed in range(5)]
    for task in tasks:  # the configuration that they are measured by: every epoch, to the last one that the sources report
        measured = task.config.evaluation
        assert (measured.every, measured.budgets[-1], measured.cell_draws) == (1, 195_000, 1_968_300)
        assert (task.config.name, task.config.schedules.total_epochs) == ("published", 400)


def test_a_run_is_measured_as_ours_and_found_by_the_ledger(code, tmp_path, capsys, monkeypatch):
    tasks = [small(task) for task in sweeps.originals()]
    before = dict(os.environ), [*sys.argv]
    record = original.run(code, tasks[3])
    assert capsys.readouterr().out == "" and (dict(os.environ), sys.argv) == before
    history = record["history"]
    assert history["epoch"] == [0, 1] and history["original.validation"] == [3.0, 2.0]
    assert (record["best_epoch"], record["best_validation_loss"]) == (1, 2.0) and history["validation.total"][0] != 3
    assert record["final"]["a"]["coverage.argmax.3000"] > 0 and "a.coverage.argmax.3000" not in history
    assert (history["lambda_2"], history["learning_rate_applied"], history["gate_open"]) == ([0.6, 0.6], [2e-3, 2e-3], [1, 1])
    assert history["train.alignment"] == [0.25, 0.25] and history["phase"] == [1, 1]
    assert all(0 < n <= 2000 for n in history["a.coverage.expectation.2000"]) and len(history["b.exact_all"]) == 2
    assert history["a.rate"][0] != history["a.rate"][1]  # of the network after each epoch
    path = sweeps.store_of(tasks[3], tmp_path / "sweeps") / "original-seed3.json"
    path.parent.mkdir(parents=True)
    records.write_json(path, record)
    monkeypatch.setattr(sweeps, "originals", lambda: tasks)
    assert [r["seed"] for r in sweeps.recorded(tasks, tmp_path / "sweeps")] == [3]
    ledger.experiments.cache_clear()
    assert list(ledger.Store(tmp_path).of("sweeps/original/original")) == [3]
    ledger.experiments.cache_clear()


def test_its_split_is_found_among_our_operations(code):
    watch = original.Watch(small(sweeps.originals()[0]).config)
    script = original.load(code)
    watch.attach(script)
    parts = script.random_split(script.Tables(), [15746, 1968, 1969], generator=torch.Generator().manual_seed(7))
    assert torch.equal(all_operations()[watch.split.test].float(), torch.stack([parts[2][i] for i in range(1969)]))
    together = torch.cat(list(watch.split))
    assert sorted(together.tolist()) == list(range(NUM_OPERATIONS))
    assert len(watch.split.train) == len(split_indices(watch.config.data).train)


def test_it_goes_its_own_way_to_the_bit(code, tmp_path, monkeypatch):
    """The weights and counts are those of the script alone: measuring between its epochs touches none of its random numbers."""
    given = tmp_path / "own.yaml"
    given.write_text((code / original.CONFIG).read_text().replace("patience: 0", "patience: 9") + f"seed: 2\ncheckpoint_dir: {tmp_path}\n")
    monkeypatch.setattr("sys.argv", ["train", "--config", str(given)])
    original.load(code).main()
    alone = (tmp_path / "told").read_text()
    original.run(code, small(sweeps.originals()[2]))
    assert (tmp_path / "told").read_text() == alone
    original.run(code, small(sweeps.originals()[3]))
    assert (tmp_path / "told").read_text() != alone


def test_a_copy_computes_the_same_or_is_refused(code):
    config = sweeps.originals()[0].config
    net = original.load(code) and sys.modules["models.ternary_vae_v5_5"].Net()
    ours = original.copied(net, config)
    assert all(torch.equal(p, q) for p, q in zip(ours.parameters(), net.parameters(), strict=True))
    pathway = net.parts.pathway_b
    pathway.encoder.mu, pathway.encoder.logvar = pathway.encoder.logvar, pathway.encoder.mu  # the same shapes, another order
    monkey = type(net)
    monkey.encoder_B = property(lambda self: lambda x: self.parts.pathway_b.encoder(x)[::-1])
    with pytest.raises(ConfigError, match="pathway B: the copy"):
        original.copied(net, config)


def test_what_is_missing_is_made_once_and_a_failure_keeps_the_others(code, tmp_path, capsys, monkeypatch):
    tasks = [small(task) for task in sweeps.originals()]
    monkeypatch.setattr(sweeps, "originals", lambda: tasks)
    given = [str(code), "--output", str(tmp_path / "store"), "--jobs", "1"]
    assert original.main([*given, "--seeds", "1", "4"]) == 0
    assert sorted(p.name for p in (tmp_path / "store" / "original").glob("*.json")) == ["original-seed1.json", "original-seed4.json"]
    before = (tmp_path / "store" / "original" / "original-seed4.json").read_bytes()
    (code / original.SCRIPT).write_text(broken := "raise OSError('broken')")
    monkeypatch.setitem(original.SHA256, original.SCRIPT, hashlib.sha256(broken.encode()).hexdigest())
    assert original.main([*given, "--seeds", "0", "4"]) == 1
    assert "original seed 0" in capsys.readouterr().err
    assert (tmp_path / "store" / "original" / "original-seed4.json").read_bytes() == before
    with pytest.raises(SystemExit) as stopped:
        original.main([*given, "--seeds", "7"])
    assert stopped.value.code == 2


@pytest.mark.parametrize("what", ["missing", "changed"])
def test_other_code_is_refused_in_one_line(code, tmp_path, capsys, what):
    if what == "missing":
        (code / original.CONFIG).unlink()
    else:
        (code / original.MODEL).write_text((code / original.MODEL).read_text().replace("0.7", "0.8"))
    assert original.main([str(code), "--output", str(tmp_path / "store")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    expected = "is not there; to get it: make original" if what == "missing" else " is not that of commit 3b399b8d; to get that: git"
    assert line.startswith("error: ") and expected in line
    assert not (tmp_path / "store").exists()


def test_line_ends_do_not_matter(code):
    before = original.source(code)
    (code / original.MODEL).write_bytes((code / original.MODEL).read_bytes().replace(b"\n", b"\r\n"))
    assert original.source(code) == before and before["commit"] == original.COMMIT


def git(folder, *arguments):
    who = ("-c", "user.name=x", "-c", "user.email=x@y")
    return subprocess.run(("git", "-C", str(folder), *who, *arguments), capture_output=True, text=True, check=True).stdout.strip()


def test_it_is_fetched_at_its_commit_where_something_is_missing(code, tmp_path, capsys, monkeypatch):
    tasks = [small(task) for task in sweeps.originals()]
    monkeypatch.setattr(sweeps, "originals", lambda: tasks)
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "its own")):
        git(code, *command)
    monkeypatch.setattr(original, "COMMIT", git(code, "rev-parse", "HEAD"))
    (code / original.MODEL).write_text("later")
    git(code, "commit", "-qam", "later")
    given = [str(tmp_path / "fetched"), "--fetch", "--output", str(tmp_path / "store"), "--jobs", "1", "--seeds", "2"]
    monkeypatch.setattr(original, "URL", str(tmp_path / "nowhere"))
    assert original.main(given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "git clone failed: " in line and not (tmp_path / "fetched").exists()
    monkeypatch.setattr(original, "URL", str(code))
    assert original.main(given) == 0
    assert git(tmp_path / "fetched", "rev-parse", "HEAD") == original.COMMIT
    (tmp_path / "fetched" / original.MODEL).unlink()  # nothing is missing any more: it is not even looked at
    assert original.main(given) == 0
