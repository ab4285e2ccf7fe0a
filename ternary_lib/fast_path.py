"""Which form of the training step runs: plain PyTorch, compiled, or compiled and replayed as one CUDA graph.

The choice is made once, before the first step, from the number of steps and from what the machine has, never from a clock:
a run that goes on after an interruption takes the form it began with, so that its numbers stay the same to the last bit.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ternary_lib import settings
from ternary_lib.config import Config, ConfigError
from ternary_lib.step import Batch, Dials, State, Step

# Compiling takes up to a minute; a compiled step then saves a few milliseconds. Below this many steps it would not pay.
MIN_COMPILED_STEPS = 20_000

Program = Callable[[State, Batch, Dials], Tensor]
Recorder = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]


class FastStep(NamedTuple):
    """The step in the form chosen: its name, why it was chosen, and the step itself."""

    path: str
    reason: str
    run: Program


def fast_step(step: Step, state: State, required: str | None = None) -> FastStep:
    """The fastest form of ``step`` that pays for itself within the run; the plain one where another does not work.

    Args:
        step: the plain step.
        state: the run's state, by its shapes and device; it is not changed.
        required: the form an interrupted run began with; no other is then taken.

    Raises:
        ConfigError: ``$TERNARY_STEP`` or ``required`` names a form this machine cannot run.
    """
    wanted, reason = _wanted(step.config, state.theta.device, required)
    if wanted == "plain":
        return FastStep("plain", reason, step)
    try:
        return FastStep(wanted, reason, _build(wanted, step, state))
    except Exception as error:  # no compiler, no headers, an old driver: whatever it is, the plain step still runs
        first_line = " ".join(str(error).split())[:160]
        if required or settings.step() != "auto":
            needs = "set TERNARY_DEVICE=cuda where there is one" if wanted == "graph" else "install a C++ compiler"
            hint = f"{needs}, or set TERNARY_STEP=plain to go on with plain steps (last digits will differ)"
            raise ConfigError(f"a {wanted} training step does not work here ({first_line}); {hint}") from None
        reason = f"a {wanted} step does not work here: {first_line}"
        warnings.warn(f"{reason}; training goes on with plain steps, which take longer", RuntimeWarning, stacklevel=2)
        return FastStep("plain", reason, step)


def _wanted(config: Config, device: torch.device, required: str | None) -> tuple[str, str]:
    asked = settings.step()
    if asked != "auto":
        return asked, "TERNARY_STEP asks for it"
    if required:
        return required, "the run began with it"
    if device.type == "cuda":
        return "graph", "a step on this device is shorter than the launches it is made of"
    steps = config.schedules.total_epochs * math.ceil(config.data.train / config.training.batch_size)
    if steps < MIN_COMPILED_STEPS:
        return "plain", f"{steps:,} steps do not pay for compiling them"
    return "compiled", f"{steps:,} steps pay for compiling them"


def _build(path: str, step: Step, state: State) -> Program:
    compiled = compile_step(step, state)
    full = replay(compiled, state, *example(step, state)) if path == "graph" else compiled
    shapes = [part.shape for part in example(step, state)[0]]

    def run(state: State, batch: Batch, dials: Dials) -> Tensor:
        # The epoch's last, smaller batch and the phases without prior draws run plainly: compiling for them too would take as long again.
        if [part.shape for part in batch] != shapes:
            return step(state, batch, dials)
        # Only the batch's shapes change between steps, and they were just looked at: the compiler need not look at every tensor again,
        # which is a tenth of the step.
        with torch.compiler.set_stance("default", skip_guard_eval_unsafe=True):
            return full(state, batch, dials)

    return run


def compile_step(step: Step, state: State) -> Program:
    """``torch.compile`` of the step for full batches, compiled now, on copies."""
    if state.theta.device.type == "cpu":
        _require_cpp_compiler()
    torch.compiler.reset()  # programs of earlier runs would count against the compiler's limit

    def program(state: State, batch: Batch, dials: Dials) -> Tensor:
        return step(state, batch, dials)

    # Wrapped in C++ on a CPU: the kernels are then called without Python, which is a quarter of the step and holds up
    # the thread that evaluates meanwhile.
    options = {"cpp_wrapper": state.theta.device.type == "cpu"}
    compiled = torch.compile(program, fullgraph=True, dynamic=False, options=options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled(State(*(t.clone() for t in state)), *example(step, state))
    return compiled


def replay(program: Program, state: State, batch: Batch, dials: Dials, record: Recorder | None = None) -> Program:
    """``program`` as one launch: its inputs are copied into fixed tensors, then everything recorded is replayed.

    Args:
        program: the step; it may not wait for the device.
        state: the tensors it changes in place, the same at every call.
        batch: a batch of the shape of all others.
        dials: dials of the shape of all others.
        record: records a call without running it and returns (replay, output); None records a CUDA graph.
    """
    fixed_batch, fixed_dials = (type(part)(*(t.clone() for t in part)) for part in (batch, dials))
    again, output = (record or _record_cuda_graph)(lambda: program(state, fixed_batch, fixed_dials))
    current: list[Dials | None] = [None]

    def run(state_now: State, batch: Batch, dials: Dials) -> Tensor:
        if state_now is not state:
            raise ValueError("a recorded step changes the state it was recorded with and no other")
        for fixed, value in zip(fixed_batch, batch, strict=True):
            fixed.copy_(value)
        if dials is not current[0]:  # once an epoch
            for fixed, value in zip(fixed_dials, dials, strict=True):
                fixed.copy_(value)
            current[0] = dials
        again()
        return output

    return run


def example(step: Step, state: State) -> tuple[Batch, Dials]:
    """A batch and dials of the shapes that training uses."""
    seeds, device, dtype = len(state.theta), state.theta.device, state.theta.dtype
    size, latent = step.config.training.batch_size, step.config.model.latent_dim
    x = torch.zeros(seeds, size, 9, device=device, dtype=dtype)
    draws = step.config.prior_matching.draws if step.config.prior_matching else 0
    batch = Batch(x, x.long() + 1, x.new_zeros(seeds, 2, size, latent), x.new_zeros(seeds, draws, latent))
    small = [torch.full((seeds,), 1e-3, device=device, dtype=dtype) for _ in Dials._fields[:-1]]
    return batch, Dials(*small, torch.full((seeds, 3), 0.5, device=device, dtype=dtype))


def _require_cpp_compiler() -> None:
    # Found out at once, not after half a minute of tracing.
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        raise FileNotFoundError(f"the C++ compiler {compiler} is not installed")


def _record_cuda_graph(call: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    # thread_local: the background thread that evaluates may use the device meanwhile
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        output = call()
    return graph.replay, output
