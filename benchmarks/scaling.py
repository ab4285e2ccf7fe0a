"""How cost grows: with the batch, with seeds stacked, with prior draws and with the number of operations there are.

Each measurement yields series: ``x``, a label, a unit, and for every x the values of all trials.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import seconds
from benchmarks.roofline import Workload
from ternary_lib.config import Config
from ternary_lib.coverage import CHUNK, MODES, distinct, draw_indices
from ternary_lib.evaluation import PATHWAYS
from ternary_lib.machine import evaluation_threads, threads
from ternary_lib.model import TernaryVAE
from ternary_lib.randomness import stream

BATCH_SIZES = (16, 32, 64, 128, 256, 512, 1024)
COMPILED_SIZES = (64, 256, 1024)  # each is compiled anew
SEEDS = (1, 2, 5, 10)
DRAWS = (1_000, 10_000, 100_000, 500_000, 2_000_000)
POSITIONS = (4, 9, 12, 16)
STEPS = 30  # in a trial

Series = dict[str, Any]


def batch(config: Config, trials: int, quick: bool = False) -> Iterator[tuple[str, Series]]:
    """Cost of training on one operation by batch size, one thread: plain steps, and compiled ones for three sizes."""
    sizes = (16, 64) if quick else BATCH_SIZES
    plain = [_per_operation(config, size, "plain", trials, 3 if quick else STEPS) for size in sizes]
    yield "batch", series(sizes, "plain step, one thread", "µs per operation", plain)
    if not quick:
        compiled = [_per_operation(config, size, None, trials, STEPS) for size in COMPILED_SIZES]
        yield "batch_compiled", series(COMPILED_SIZES, "compiled step, one thread", "µs per operation", compiled)


def seeds(config: Config, trials: int, quick: bool = False) -> Iterator[tuple[str, Series]]:
    """Cost of a step by the number of seeds stacked: one thread for one seed, every core for a stack, as in training.

    Threads wait for each other after each product, so that a small stack on a busy machine may cost more than its seeds alone.
    """
    numbers, path, steps = ((1, 2), "plain", 3) if quick else (SEEDS, None, STEPS)
    values = [[1e3 * t for t in _step_seconds(Workload(config, n, path), trials, steps)] for n in numbers]
    label = f"step of all seeds; one thread for one seed, {evaluation_threads()} for a stack"
    yield "seeds", series(numbers, label, "ms per step", values)
    each = [[value / n for value in row] for n, row in zip(numbers, values, strict=True)]
    yield "seeds_each", series(numbers, f"{label}, divided by the seeds", "ms per step and seed", each)


def draws(config: Config, trials: int, quick: bool = False) -> Iterator[tuple[str, Series]]:
    """Cost of coverage in every decode mode by the number of prior draws."""
    model, numbers = TernaryVAE(config.model, stream(config.seed, "weights")), DRAWS[:2] if quick else DRAWS
    workers = evaluation_threads()
    for name, key in zip(PATHWAYS, ("draws_a", "draws"), strict=True):
        decoder = getattr(model, f"pathway_{name}").decoder
        with threads(1), ThreadPoolExecutor(workers) as pool:
            values = [_repeat(lambda n=n, d=decoder, p=pool: _cover(d, n, p), trials) for n in numbers]
        yield key, series(numbers, f"coverage in every mode, decoder {name.upper()}, {workers} threads", "s", values)


def space(config: Config, trials: int, quick: bool = False) -> Iterator[tuple[str, Series]]:
    """Cost of argmax coverage by the number of operations, 3^positions, the draws fixed; the decoder has 3 outputs a position.

    The library's own counting is for nine positions; this is the same in 64-bit integers, since 3^16 is beyond float32's.
    """
    number = 20_000 if quick else config.evaluation.budgets[-1]
    positions = POSITIONS[:2] if quick else POSITIONS
    whole, counting = [], []
    with threads(1), torch.inference_mode():
        for p in positions:
            decoder = _decoder(config, p)
            indices = _indices(decoder, number, p)
            whole.append(_repeat(lambda d=decoder, p=p: _count(_indices(d, number, p), p), trials))
            counting.append(_repeat(lambda i=indices, p=p: _count(i, p), trials))
    x = [3**p for p in positions]
    yield "space", series(x, f"argmax coverage of {number:,} draws, one thread", "s", whole)
    yield "space_count", series(x, f"counting alone of {number:,} decoded draws, one thread", "s", counting)


def series(x: Any, label: str, unit: str, values: list[list[float]]) -> Series:
    """A curve: one list of trials for every x."""
    return {"x": list(x), "label": label, "unit": unit, "values": values}


def _per_operation(config: Config, size: int, path: str | None, trials: int, steps: int) -> list[float]:
    training = config.training.model_copy(update={"batch_size": size})
    workload = Workload(config.model_copy(update={"training": training}), path=path)
    return [1e6 * t / size for t in _step_seconds(workload, trials, steps)]


def _step_seconds(workload: Workload, trials: int, steps: int) -> list[float]:
    workload.run(3)
    return [workload.step_seconds(steps) for _ in range(trials)]


def _repeat(call: Any, trials: int) -> list[float]:
    call()
    return [seconds(call) for _ in range(trials)]


def _cover(decoder: nn.Module, number: int, pool: ThreadPoolExecutor) -> list[int]:
    return [distinct(i) for i in draw_indices(decoder, number, MODES, torch.Generator().manual_seed(0), pool=pool).values()]


def _decoder(config: Config, positions: int) -> nn.Module:
    width, latent = config.model.decoder_b_width, config.model.latent_dim
    return nn.Sequential(nn.Linear(latent, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3 * positions))


def _indices(decoder: nn.Module, number: int, positions: int) -> Tensor:
    """Index [number] of each draw's operation by argmax."""
    powers = 3 ** torch.arange(positions - 1, -1, -1)
    latent = decoder[0].in_features
    sizes = [min(CHUNK, number - start) for start in range(0, number, CHUNK)]
    # [n, 3·positions] -> [n, positions, 3] -> [n]
    return torch.cat([(decoder(torch.randn(n, latent)).unflatten(1, (positions, 3)).argmax(-1) * powers).sum(1) for n in sizes])


def _count(indices: Tensor, positions: int) -> int:
    mask = torch.zeros(3**positions, dtype=torch.bool)
    mask[indices] = True
    return int(mask.sum())
