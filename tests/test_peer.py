"""The peer benchmark trains our own networks in pythae's trainer, leaves nothing behind and says what is missing."""

import json
import logging
import os
import subprocess
import sys
import tempfile

import pytest
import torch

from benchmarks import peer
from ternary_lib.config import PROJECT_ROOT, DataConfig
from ternary_lib.data import split_indices
from ternary_lib.losses import cross_entropy, kl_divergence
from ternary_lib.model import DecoderA, DecoderB, Encoder
from ternary_lib.operations import all_operations

pytestmark = pytest.mark.usefixtures("one_thread")
PARAMETERS = {"a": 50_203, "b": 117_499}
X = all_operations()[::500]  # [40, 9]


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.fixture
def pythae():
    return pytest.importorskip("pythae")


@pytest.mark.parametrize(("pathway", "decoder"), [("a", DecoderA), ("b", DecoderB)])
def test_the_networks_are_the_librarys(pathway, decoder):
    ours = peer.network(pathway, seed=1)
    assert count(ours) == PARAMETERS[pathway]
    assert type(ours.encoder) is Encoder and type(ours.decoder) is decoder


def test_an_unknown_pathway_is_refused():
    with pytest.raises(ValueError, match="expected a or b"):
        peer.network("c", seed=1)


def test_without_pythae_one_line_names_the_fix():
    """In a process of its own, where ``import pythae`` fails whether it is installed or not."""
    code = "import runpy, sys; sys.modules['pythae'] = None; runpy.run_module('benchmarks.peer', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: pythae") and done.stderr.count("\n") == 1
    assert peer.FIX in done.stderr


@pytest.mark.parametrize("arguments", [["--epochs", "1"], ["--threads", "0"], ["--pathway", "c"]])
def test_unusable_arguments_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        peer.main(arguments)
    assert stopped.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_one_epoch_is_too_few():
    with pytest.raises(ValueError, match="at least 2"):
        peer.train_seconds("a", epochs=1, threads=1)


# --- with pythae -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pathway", ["a", "b"])
def test_wrapping_adds_no_parameter(pythae, pathway):
    ours = peer.network(pathway, seed=1)
    wrapped = peer.beta_vae(ours, beta=0.5)
    assert {id(p) for p in wrapped.parameters()} == {id(p) for p in ours.parameters()}
    assert count(wrapped) == PARAMETERS[pathway]


def test_the_loss_is_ours(pythae):
    """Cross-entropy in nats, summed over positions, plus β times the KL term: as in ``ternary_lib.losses``."""
    ours = peer.network("b", seed=1)
    mu, logvar = ours.encoder(X)
    logits = ours.decoder(mu)
    loss, distortion, rate = peer.beta_vae(ours, beta=0.5).loss_function(logits, X.float(), mu, logvar, mu)
    torch.testing.assert_close(distortion, cross_entropy(logits, X + 1))
    torch.testing.assert_close(rate, kl_divergence(mu, logvar))
    torch.testing.assert_close(loss, distortion + 0.5 * rate)


def test_training_lowers_the_distortion_and_repeats(pythae):
    x = all_operations()[split_indices(DataConfig()).train]
    before = peer.network("a", seed=3)
    runs = [peer.train_beta_vae("a", beta=0.1, epochs=2, seed=3) for _ in range(2)]
    with torch.no_grad():
        start, end = (cross_entropy(path.decoder(path.encoder(x)[0]), x + 1).item() for path in (before, runs[0]))
    assert end < 0.9 * start
    assert all(torch.equal(p, q) for p, q in zip(runs[0].parameters(), runs[1].parameters(), strict=True))


def test_a_measurement_is_complete_silent_and_leaves_nothing(pythae, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(torch, "set_num_threads", (asked := []).append)
    environment, disabled, generator = dict(os.environ), logging.root.manager.disable, torch.random.get_rng_state()
    assert peer.main(["--pathway", "a", "--epochs", "2", "--threads", "2"]) == 0
    out, err = capfd.readouterr()
    found = json.loads(out)
    assert err == ""
    assert (found["parameters"], found["samples"], found["batch_size"], found["threads"]) == (50_203, 15_746, 64, 2)
    assert len(found["epoch_seconds"]) == 2 and found["seconds_per_epoch"] == found["epoch_seconds"][1] > 0
    assert found["samples_per_second"] == pytest.approx(15_746 / found["seconds_per_epoch"])
    assert list(tmp_path.iterdir()) == []
    assert asked == [2, 1]
    assert dict(os.environ) == environment and logging.root.manager.disable == disabled
    assert torch.equal(torch.random.get_rng_state(), generator)
