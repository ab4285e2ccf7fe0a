"""The training step against what the machine can do: matrix-product peak, memory bandwidth, and where a step's time goes.

A step's floating-point operations are those of its layers' matrix products, 2·M·K·N each: one forward, one for the weights'
gradient, one for the inputs' gradient except in the encoders' first layer, which reads data. Biases, losses and the optimiser
are not counted; bytes are what each part must read and write if nothing stays in a cache, though at these sizes most does.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import seconds, seconds_each
from ternary_lib.config import Config
from ternary_lib.coverage import CHUNK
from ternary_lib.machine import evaluation_threads, threads
from ternary_lib.operations import NUM_OPERATIONS, all_operations
from ternary_lib.step import Batch, Dials, State, Step, adamw, average_norms, clip_factor
from ternary_lib.training import Trainer

BATCHES = 8  # different ones, taken in turn
FLOAT = 4  # bytes
PEAK_SIZES = (256, 512, 1024, 2048)
BANDWIDTH_FLOATS = 2**26  # 256 MiB: larger than any cache
CACHED_FLOATS = 2**16  # 256 KiB
OPTIMISER_PASSES = 8  # θ and both moments read and written, the gradient read for its norm and for the update
OPTIMISER_FLOPS = 20  # about, for a parameter

Pair = tuple[Tensor, Tensor]


class Workload:
    """Training steps of one seed or of a stack, on batches of real operations drawn beforehand."""

    def __init__(self, config: Config, seeds: int = 1, path: str | None = None) -> None:
        configs = [config.model_copy(update={"seed": config.seed + i}) for i in range(seeds)]
        self.workers = 1 if seeds == 1 else evaluation_threads()  # as in training
        with threads(self.workers):
            self.trainer = Trainer(configs, path)
        self.dials = Dials.of([controller.begin_epoch(0, None) for controller in self.trainer.controllers])
        self.batches = [draw_batch(config, seeds, number) for number in range(BATCHES)]

    def run(self, steps: int) -> None:
        """That many steps."""
        with threads(self.workers):
            for number in range(steps):
                self.trainer.run_step(self.trainer.state, self.batches[number % BATCHES], self.dials)

    def step_seconds(self, steps: int) -> float:
        """Seconds of one step, over ``steps`` of them."""
        return seconds(lambda: self.run(steps)) / steps


def draw_batch(config: Config, seeds: int, number: int) -> Batch:
    """A batch of operations and noise for each seed of a stack."""
    generator = torch.Generator().manual_seed(number)
    size, latent = config.training.batch_size, config.model.latent_dim
    x = all_operations()[torch.randint(NUM_OPERATIONS, (seeds, size), generator=generator)]  # [seeds, size, 9]
    return Batch(x.float(), x + 1, torch.randn(seeds, 2, size, latent, generator=generator), torch.zeros(seeds, 0, latent))


def measure(config: Config, trials: int, quick: bool = False) -> Iterator[tuple[str, Any]]:
    """(name, value) of everything measured: peaks, bandwidth, the parts of a step as points, and what of it is overhead."""
    yield "peak_gflops_one", peak_gflops(1, trials, quick)
    yield "peak_gflops_all", peak_gflops(evaluation_threads(), trials, quick)
    yield "bandwidth_gbs", bandwidth(2**22 if quick else BANDWIDTH_FLOATS, trials)
    yield "bandwidth_cache_gbs", bandwidth(CACHED_FLOATS, trials, repeats=1000)
    with threads(1):
        points = list(step_points(config, trials, 5 if quick else 100))
        points += decoder_points(config, trials, 5 if quick else 100)
    yield "points", points
    found = {point["name"]: point["seconds"] for point in points}
    yield "overhead_plain", overhead(found, "plain")
    if "compiled step" in found:
        yield "overhead", overhead(found, "compiled")


def peak_gflops(workers: int, trials: int, quick: bool = False) -> float:
    """Most GFLOP/s of a product of two square float32 matrices, over several sizes."""
    with threads(workers):
        return max(_product_gflops(size, trials) for size in (PEAK_SIZES[:1] if quick else PEAK_SIZES))


def _product_gflops(size: int, trials: int) -> float:
    a, b, out = (torch.randn(size, size) for _ in range(3))
    repeats = max(1, 2048**3 // size**3 // 4)
    return 2e-9 * size**3 / min(seconds_each(lambda: torch.mm(a, b, out=out), repeats) for _ in range(trials + 1))


def bandwidth(floats: int, trials: int, repeats: int = 1) -> float:
    """Most GB/s of a copy on every core, what is read and what is written together."""
    source, target = torch.ones(floats), torch.zeros(floats)
    with threads(evaluation_threads() if repeats == 1 else 1):
        best = min(seconds_each(lambda: target.copy_(source), repeats) for _ in range(trials + 1))
    return 2e-9 * FLOAT * floats / best


def layer_products(layer: nn.Linear, rows: int, reads_data: bool) -> list[Pair]:
    """Operands of a layer's products in one step, laid out as autograd lays them out: forward, weights' and inputs' gradient."""
    w = torch.randn_like(layer.weight)  # [n, k]
    x, g = torch.randn(rows, w.shape[1]), torch.randn(rows, w.shape[0])
    return [(x, w.T), (g.T, x)] + ([] if reads_data else [(g, w)])


def step_products(step: Step) -> list[Pair]:
    """Operands of every layer's products in one training step."""
    rows = step.config.training.batch_size
    named = [(name, m) for name, m in step.skeleton.named_modules() if name.startswith("pathway_") and isinstance(m, nn.Linear)]
    return [pair for name, layer in named for pair in layer_products(layer, rows, name.endswith("encoder.body.0"))]


def flops(pairs: list[Pair]) -> int:
    """2·M·K·N of each product."""
    return sum(2 * a.shape[0] * a.shape[1] * b.shape[1] for a, b in pairs)


def traffic(pairs: list[Pair]) -> int:
    """Bytes of the operands and results of the products."""
    return FLOAT * sum(a.numel() + b.numel() + a.shape[0] * b.shape[1] for a, b in pairs)


def optimise(step: Step, state: State, gradient: Tensor, dials: Dials) -> None:
    """What a step does with its gradient: the pathways' norms, their averages, joint clipping and AdamW."""
    parts = gradient.tensor_split([step.cut], dim=1)
    norms = torch.stack([torch.linalg.vector_norm(part, dim=1) for part in parts], dim=1)  # [seeds, 2]
    state.norms.copy_(average_norms(state, norms, dials.momentum, step.config.balance))
    adamw(state, gradient * clip_factor(norms, step.config.training.grad_clip), dials.rate[:, None], step.config.training.weight_decay)


def step_points(config: Config, trials: int, repeats: int) -> Iterator[dict[str, Any]]:
    """The step and its parts on one thread, plain and, where it is what training takes, compiled."""
    plain = Workload(config, path="plain")
    step, size = plain.trainer.step, plain.trainer.state.theta.numel()
    pairs = step_products(step)
    outputs = [torch.empty(a.shape[0], b.shape[1]) for a, b in pairs]
    work = (flops(pairs), traffic(pairs))
    tail = (OPTIMISER_FLOPS * size, OPTIMISER_PASSES * FLOAT * size)
    both = (work[0], work[1] + tail[1])

    def multiply() -> None:
        for (a, b), out in zip(pairs, outputs, strict=True):
            torch.mm(a, b, out=out)

    yield point("matrix products", *work, multiply, trials, repeats)
    yield point("plain optimiser", *tail, optimiser(plain), trials, repeats)
    yield point("plain step", *both, lambda: plain.run(1), trials, repeats)
    compiled = Workload(config)
    if compiled.trainer.path == "plain":
        return
    yield point("compiled step", *both, lambda: compiled.run(1), trials, repeats)
    yield point("compiled optimiser", *tail, optimiser(compiled, _compile), trials, repeats)
    yield point("compiled call", 0, 0, empty_call(compiled), trials, repeats)


def optimiser(workload: Workload, form: Callable[[Callable], Callable] = lambda plain: plain) -> Callable[[], None]:
    """A call of ``optimise`` on copies, plain or compiled."""
    trainer, run = workload.trainer, form(optimise)
    state, gradient = State(*(t.clone() for t in trainer.state)), torch.randn_like(trainer.state.theta)

    def call() -> None:
        with torch.no_grad():
            run(trainer.step, state, gradient, workload.dials)

    return call


def empty_call(workload: Workload) -> Callable[[], None]:
    """A compiled program with the arguments of a step and nothing to do: its guards and its launch."""

    def nothing(state: State, batch: Batch, dials: Dials) -> Tensor:
        return state.powers[:, 0] + batch.x[0, 0, 0] + dials.rate

    run = _compile(nothing)
    return lambda: run(workload.trainer.state, workload.batches[0], workload.dials)


def _compile(program: Callable) -> Callable:
    return torch.compile(program, fullgraph=True, dynamic=False, options={"cpp_wrapper": True})  # as fast_path does


def decoder_points(config: Config, trials: int, repeats: int) -> Iterator[dict[str, Any]]:
    """Both decoders' forward pass on one thread, in the chunks that coverage decodes."""
    model = Step(config).skeleton
    for name, decoder in (("decoder A", model.pathway_a.decoder), ("decoder B", model.pathway_b.decoder)):
        pairs = [layer_products(m, CHUNK, True)[0] for m in decoder.modules() if isinstance(m, nn.Linear)]
        z = torch.randn(CHUNK, config.model.latent_dim)
        with torch.inference_mode():
            yield point(name, flops(pairs), traffic(pairs), lambda decoder=decoder, z=z: decoder(z), trials, repeats)


def point(name: str, flops: int, bytes_: int, call: Callable[[], Any], trials: int, repeats: int) -> dict[str, Any]:
    """One point of the roofline: the median of ``trials``, each of ``repeats`` calls, after a few that warm up."""
    seconds_each(call, 3)
    values = [seconds_each(call, repeats) for _ in range(trials)]
    median = statistics.median(values)
    return {"name": name, "flops": flops, "bytes": bytes_, "seconds": median, "gflops": 1e-9 * flops / median, "values": values}


def overhead(found: dict[str, float], form: str) -> dict[str, float]:
    """Seconds of a step by part; they add up to the step. ``rest``: element-wise work, losses, launches between the products."""
    parts = {"matrix products": found["matrix products"], "optimiser and norms": found[f"{form} optimiser"]}
    if form == "compiled":
        parts["guards and call"] = found["compiled call"]
        parts["optimiser and norms"] -= found["compiled call"]  # it was called on its own, so it paid for that as well
    return parts | {"rest": found[f"{form} step"] - sum(parts.values())}
