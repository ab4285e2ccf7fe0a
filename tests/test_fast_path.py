"""Forms of the training step: chosen by the work and the machine, equal to the plain one, given up cleanly where they fail."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch
from micro import ROOT, copied, micro_config
from test_training import substance

from ternary_lib import checkpoint, fast_path
from ternary_lib.config import ConfigError, load_config
from ternary_lib.fast_path import MIN_COMPILED_STEPS, compile_step, example, fast_step, replay
from ternary_lib.machine import threads
from ternary_lib.model import TernaryVAE
from ternary_lib.step import STEP_COLUMNS, Batch, State, Step
from ternary_lib.training import Trainer, train

HEADERS = Path(sysconfig.get_path("include"), "Python.h")
needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None or not HEADERS.is_file(), reason="no C++ compiler, or no Python headers, on this machine"
)
pytestmark = pytest.mark.usefixtures("one_thread")


def step_and_state(config):
    step = Step(config)
    return step, step.initial_state([TernaryVAE(config.model, torch.Generator().manual_seed(1))])


@pytest.fixture
def counted(monkeypatch):
    """Stands in for the compiler and counts what it is asked for."""
    calls = []
    monkeypatch.setattr(fast_path, "compile_step", lambda step, state: calls.append(1) or step)
    monkeypatch.delenv("TERNARY_STEP", raising=False)
    return calls


@pytest.mark.parametrize(("epochs", "path"), [(1, "plain"), (80, "plain"), (81, "compiled"), (400, "compiled")])
def test_compiling_must_pay_within_the_run(counted, epochs, path):
    config = load_config("configs/ternary_v5_5.yaml", {"schedules.total_epochs": epochs})  # 247 steps an epoch
    chosen = fast_step(*step_and_state(config))
    assert (chosen.path, len(counted)) == (path, int(path == "compiled"))
    assert f"{247 * epochs:,} steps" in chosen.reason
    assert (247 * epochs >= MIN_COMPILED_STEPS) == (path == "compiled")


def test_a_resumed_run_keeps_its_form_and_the_environment_overrules(counted, monkeypatch):
    assert fast_step(*step_and_state(micro_config()), required="compiled").path == "compiled"
    assert fast_step(*step_and_state(load_config("configs/ternary_v5_5.yaml")), required="plain").path == "plain"
    monkeypatch.setenv("TERNARY_STEP", "plain")
    assert fast_step(*step_and_state(micro_config()), required="compiled").path == "plain"
    monkeypatch.setenv("TERNARY_STEP", "compiled")
    assert fast_step(*step_and_state(micro_config())).path == "compiled"
    monkeypatch.setenv("TERNARY_STEP", "faster")
    with pytest.raises(ConfigError, match="TERNARY_STEP=faster: expected auto, plain, compiled or graph"):
        fast_step(*step_and_state(micro_config()))


def test_where_compiling_fails_the_plain_step_runs_and_says_why(monkeypatch):
    def broken(step, state):
        raise RuntimeError("no compiler\nhere")

    monkeypatch.setattr(fast_path, "compile_step", broken)
    monkeypatch.delenv("TERNARY_STEP", raising=False)
    parts = step_and_state(load_config("configs/ternary_v5_5.yaml"))
    with pytest.warns(RuntimeWarning, match="no compiler here; training goes on with plain steps"):
        chosen = fast_step(*parts)
    assert (chosen.path, chosen.run) == ("plain", parts[0])
    assert chosen.reason == "a compiled step does not work here: no compiler here"
    with pytest.raises(ConfigError, match=r"compiled training step does not work here .no compiler here.; install a C\+\+ compiler"):
        fast_step(*parts, required="compiled")


def test_on_a_machine_without_a_compiler(tmp_path):
    """The real thing: no compiler to be found, an empty cache, a long run asked for."""
    code = (
        "from ternary_lib.config import load_config; from ternary_lib.training import Trainer;"
        "t = Trainer(load_config('configs/ternary_v5_5.yaml', {'data.train': 640, 'schedules.total_epochs': 3000}));"
        "print(t.path, '|', t.path_reason); t.train_epoch(0); print('trained')"
    )
    environment = {"PATH": "/nowhere", "CXX": "/nowhere/g++", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "HOME": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("plain | a compiled step does not work here: the C++ compiler /nowhere/g++ is not installed")
    assert done.stdout.endswith("trained\n")
    assert "training goes on with plain steps" in done.stderr


@needs_compiler
@pytest.mark.parametrize("seeds", [1, 3])
def test_compiled_steps_equal_plain_ones(seeds):
    """Every loss, norm and update of 30 steps, each from the same state: what differs is the order of rounding."""
    configs = [micro_config(seed=seed, training__batch_size=64) for seed in range(seeds)]
    trainer = Trainer(configs, "plain")
    dials = fast_path.example(trainer.step, trainer.state)[1]._replace(rate=torch.full((seeds,), 1e-3))
    before = copied(trainer.state)
    compiled = compile_step(trainer.step, trainer.state)
    assert all(torch.equal(a, b) for a, b in zip(trainer.state, before, strict=True)), "compiling takes no step"
    with torch.compiler.set_stance("fail_on_recompile"):
        for i, batch in enumerate(trainer._batches()):
            other = copied(trainer.state)
            expected = trainer.step(trainer.state, batch, dials)
            got = compiled(other, batch, dials)
            assert torch.allclose(got, expected, rtol=1e-4, atol=1e-5), i
            for name, ours, plain in zip(State._fields, other, trainer.state, strict=True):
                # AdamW divides by √v̂: where that is rounding, so is the update, and it is never above the rate
                assert torch.allclose(ours, plain, rtol=1e-3, atol=1e-3 if name == "theta" else 1e-6), (i, name)
            assert (other.theta - trainer.state.theta).abs().mean() < 1e-6


@needs_compiler
def test_a_compiled_run_is_never_compiled_again_and_resumes_to_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setenv("TERNARY_STEP", "compiled")
    config = micro_config(data__train=1500)  # the last batch is smaller than the others
    whole = train(config, tmp_path / "whole", progress=False)
    assert whole.record["step_path"] == "compiled"
    assert "compiled steps" in whole.describe()
    real, epochs = Trainer.train_epoch, []

    def watched(self, epoch):
        epochs.append(epoch)
        if len(epochs) == 3:
            raise KeyboardInterrupt
        with torch.compiler.set_stance("fail_on_recompile"):
            return real(self, epoch)

    monkeypatch.setattr(Trainer, "train_epoch", watched)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "stopped", progress=False)
    monkeypatch.delenv("TERNARY_STEP")  # what the run began with is in its checkpoint
    _, meta = checkpoint.load(tmp_path / "stopped" / "last.safetensors")
    assert meta["step_path"] == "compiled"
    resumed = train(config, tmp_path / "stopped", resume=True, progress=False)
    assert substance(resumed.record) == substance(whole.record)


# --- replaying: what a CUDA graph does, with a recorder that stands in for the device ----------------------------


def stand_in(call):
    """Records without running, replays into the same output, as a CUDA graph does."""
    output = torch.zeros(1, len(STEP_COLUMNS))

    def again():
        output.copy_(call())

    return again, output


def test_a_replayed_step_equals_the_step(tmp_path):
    trainer = Trainer(micro_config(training__batch_size=64), "plain")
    batches, first = trainer._batches(), example(trainer.step, trainer.state)[1]
    state = copied(trainer.state)
    before = copied(state)
    program = replay(trainer.step, state, *example(trainer.step, state), record=stand_in)
    assert all(torch.equal(a, b) for a, b in zip(state, before, strict=True)), "recording runs nothing"
    for dials in (first, first._replace(rho=torch.full((1,), 0.9))):  # two epochs, the second with other dials
        for batch in batches[:5]:
            expected = trainer.step(trainer.state, batch, dials)
            assert torch.equal(program(state, batch, dials), expected)
    assert all(torch.equal(a, b) for a, b in zip(state, trainer.state, strict=True))


def test_a_replayed_step_refuses_another_state():
    step, state = step_and_state(micro_config())
    program = replay(step, state, *example(step, state), record=stand_in)
    with pytest.raises(ValueError, match="recorded with and no other"):
        program(copied(state), *example(step, state))


def test_the_graph_form_sends_full_batches_to_the_graph_and_the_last_one_to_the_plain_step(monkeypatch):
    step, state = step_and_state(micro_config(training__batch_size=64))
    monkeypatch.setattr(fast_path, "compile_step", lambda step, state: step)
    monkeypatch.setattr(fast_path, "_record_cuda_graph", stand_in)
    monkeypatch.setenv("TERNARY_STEP", "graph")
    chosen = fast_step(step, state)
    assert chosen.path == "graph"
    batch, dials = example(step, state)
    small = Batch(batch.x[:, :7], batch.classes[:, :7], batch.noise[:, :, :7], batch.prior)
    for part in (batch, small):
        twin = copied(state)
        expected = step(twin, part, dials)
        assert torch.equal(chosen.run(state, part, dials), expected)
        assert all(torch.equal(a, b) for a, b in zip(state, twin, strict=True))


def test_the_graph_form_is_refused_where_there_is_no_device(monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    monkeypatch.setattr(fast_path, "compile_step", lambda step, state: step)
    monkeypatch.setenv("TERNARY_STEP", "graph")
    with pytest.raises(ConfigError, match="a graph training step does not work here"), threads(1):
        fast_step(*step_and_state(micro_config()))
