"""Version 6's recipe on a space too large to enumerate: the 3^16 ternary tables of 4×4 entries.

The same step as the recipe's, with what the larger space asks for: 16 entries in and out, 24 latent dimensions instead of 16, and
prior draws that are matched on eight windows of nine entries, one a step, each with a memory of its own, for 43 million cells have
none. StateNet and gradient balance are left out. Uniformity is estimated from coincidences: under a uniform generator two draws are
the same table once in 3^16 pairs.

    python -m benchmarks.larger --seeds 0 1 2           # makes what is missing in results/larger.json
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from ternary_lib import records, schedules
from ternary_lib.config import Config, config_hash, load_config
from ternary_lib.coverage import tertile_decoder
from ternary_lib.losses import prior_mismatch, total_loss
from ternary_lib.model import Pathway, TernaryVAE
from ternary_lib.operations import NUM_OPERATIONS, to_index
from ternary_lib.progress import Progress
from ternary_lib.randomness import stream
from ternary_lib.step import remember
from ternary_lib.strict_yaml import InputError

POSITIONS, LATENT, WINDOWS = 16, 24, 8
TABLES = 3**POSITIONS  # 43,046,721
DRAWS, UNSEEN, CHUNK = 4_000_000, 20_000, 10_000
RECIPES = {"matched": {}, "unmatched": {"prior_matching": None}}  # what is changed in version 6

Decoder = Callable[[Float[Tensor, "n latent"]], Float[Tensor, "n 16 3"]]


def recipe(name: str, seed: int) -> Config:
    """Version 6's configuration for the larger space."""
    return load_config("configs/ternary_v6.yaml", {"model.latent_dim": LATENT, "seed": seed, **RECIPES[name]})


def windows() -> Int[Tensor, "windows 9"]:
    """Eight sets of nine entries, drawn at random once and the same for every run."""
    generator = stream(0, "windows")
    return torch.stack([torch.randperm(POSITIONS, generator=generator)[:9].sort().values for _ in range(WINDOWS)])


def train(config: Config, tables: Int[Tensor, "n 16"], generator: Generator) -> TernaryVAE:
    """Train both pathways on these tables for the configuration's epochs."""
    model = TernaryVAE(config.model, stream(config.seed, "weights"), POSITIONS)
    parameters = [*model.pathway_a.parameters(), *model.pathway_b.parameters()]
    optimizer = torch.optim.AdamW(parameters, weight_decay=config.training.weight_decay)
    s, matching, sets, step = config.schedules, config.prior_matching, windows(), 0
    memories = torch.full((2, WINDOWS, NUM_OPERATIONS), 1 / NUM_OPERATIONS)
    permeability, lambdas = schedules.Permeability(s), torch.tensor(config.balance.lambdas)
    for epoch in range(s.total_epochs):
        optimizer.param_groups[0]["lr"] = schedules.learning_rate(epoch, s)
        taus, betas = ((schedules.tau_a(epoch, s), schedules.tau_b(epoch, s)), (schedules.beta_a(epoch, s), schedules.beta_b(epoch, s)))
        rho, matched = permeability.step(epoch, 1.0), matching is not None and schedules.phase(epoch, s) >= matching.from_phase
        for x in tables[torch.randperm(len(tables), generator=generator)].split(config.training.batch_size):
            output, mismatches = model(x, *taus, rho, generator), None
            if matched:
                z, window = torch.randn(matching.draws, LATENT, generator=generator), step % WINDOWS
                drawn = [pathway.decoder(z) for pathway in (model.pathway_a, model.pathway_b)]
                pairs = zip(drawn, memories[:, window].clone(), strict=True)
                mismatches = [prior_mismatch(logits[:, sets[window]], memory, matching) for logits, memory in pairs]
                remember(memories, in_windows(drawn, sets), matching.memory)
            loss = total_loss(output, x + 1, betas, lambdas, config=config.loss, mismatches=mismatches).total
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, config.training.grad_clip)
            optimizer.step()
            step += 1
    return model


def in_windows(drawn: list[Float[Tensor, "draws 16 3"]], sets: Int[Tensor, "windows 9"]) -> Int[Tensor, "pathways windows draws"]:
    """The cell that each draw of each pathway falls into, seen through each window."""
    return torch.stack([to_index((logits.argmax(-1) - 1)[:, sets].transpose(0, 1)) for logits in drawn])


@torch.inference_mode()
def rebuilt(pathway: Pathway, tables: Int[Tensor, "n 16"]) -> float:
    """Fraction of the tables whose every entry is decoded from μ."""
    return float((pathway.decoder(pathway.encoder(tables)[0]).argmax(-1) == tables + 1).all(-1).double().mean())


@torch.inference_mode()
def uniformity(decoder: Decoder, generator: Generator, draws: int = DRAWS) -> dict[str, float]:
    """How uniform the tables decoded from N(0, I) are, from the counts of ``draws`` argmax draws.

    ``chi_squared`` is N·Σ p² - 1, unbiased, from pairs of equal draws (0 is uniform), ``noise`` its standard deviation under a uniform
    generator, ``distinct`` the different tables found over those a uniform generator finds, ``most_frequent`` the share of the commonest.
    ``confidence`` is the mean probability of the values decoded, ``commonest_confidence`` the same over draws of the commonest table.
    """
    powers = 3 ** torch.arange(POSITIONS - 1, -1, -1)
    drawn = [decoder(torch.randn(CHUNK, LATENT, generator=generator)).softmax(-1).max(-1) for _ in range(draws // CHUNK)]
    codes = torch.cat([(values * powers).sum(1) for _, values in drawn])
    sure = torch.cat([highest.mean(1) for highest, _ in drawn])
    tables, repeats = codes.unique(return_counts=True)
    counts, pairs = repeats.double(), draws * (draws - 1) / 2
    return {
        "confidence": float(sure.mean()),
        "commonest_confidence": float(sure[codes == tables[repeats.argmax()]].mean()),
        "chi_squared": float((counts * (counts - 1)).sum() / 2) * TABLES / pairs - 1,
        "noise": math.sqrt(TABLES / pairs),
        "distinct": len(counts) / (TABLES * -math.expm1(draws * math.log1p(-1 / TABLES))),
        "most_frequent": float(counts.max()) / draws,
    }


def run(config: Config) -> dict[str, Any]:
    """Train on as many random tables as version 6 has operations; both pathways measured after the last epoch."""
    generator, clock = stream(config.seed, "larger"), time.monotonic()
    tables = torch.randint(-1, 2, (config.data.train, POSITIONS), generator=generator)
    model = train(config, tables, generator)
    unseen = torch.randint(-1, 2, (UNSEEN, POSITIONS), generator=generator)  # a table met in training is one in 2,700
    found = {"seconds": round(time.monotonic() - clock, 1), "seed": config.seed, "config_hash": config_hash(config)}
    for name, pathway in (("a", model.pathway_a), ("b", model.pathway_b)):
        own = {"exact_unseen": rebuilt(pathway, unseen), **uniformity(pathway.decoder, stream(config.seed, "larger draws", name))}
        found[name] = own
    return found


def main(arguments: list[str] | None = None) -> int:
    """Make what is missing; status 2 and one line on bad input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.larger", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where results are stored (default: results/larger.json)")
    given = parser.parse_args(arguments)
    path = given.output or records.results_dir() / "larger.json"
    try:
        tasks = {f"{name}-seed{seed}": recipe(name, seed) for seed in given.seeds for name in RECIPES}
        stored = records.read_json(path) if path.exists() else {}
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    missing = [name for name, config in tasks.items() if stored.get(name, {}).get("config_hash") != config_hash(config)]
    if "ideal" not in stored:
        stored["ideal"] = uniformity(partial(tertile_decoder, positions=POSITIONS), stream(0, "larger draws"))
    bar = Progress(len(tasks), unit="run")
    for done, name in enumerate(missing, len(tasks) - len(missing) + 1):
        stored[name] = records.provenance() | run(tasks[name])
        records.write_json(path, stored)
        bar.update(done, name)
    bar.close(f"{len(tasks)} of {len(tasks)} runs recorded, {len(missing)} of them now: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
