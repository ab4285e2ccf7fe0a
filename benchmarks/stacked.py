"""Seeds trained together against the same seeds trained one by one: do their final metrics have the same distribution?

``python -m benchmarks.stacked --config configs/smoke.yaml --seeds 10 --output results/stacked.json``
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from ternary_lib.config import Config, load_config
from ternary_lib.journal import Run
from ternary_lib.records import hardware, library_commit, versions, write_json
from ternary_lib.training import train, train_together

T_95 = {4: 2.776, 9: 2.262, 19: 2.093}  # Student's t, two-sided 95 %, by degrees of freedom


def metrics(run: Run) -> dict[str, float]:
    """What a run is judged by, at its last epoch."""
    last, top = {name: column[-1] for name, column in run.history.items()}, run.config.evaluation.budgets[-1]
    names = ("rate", "distortion", "exact_all", f"coverage.argmax.{top}", f"coverage.expectation.{top}", "kl_to_uniform")
    final = run.record["final"]
    found = {f"{path}.{name}": float(last.get(f"{path}.{name}", final[path].get(name, 0.0))) for path in "ab" for name in names}
    return found | {"validation loss": last["validation.total"], "training loss": last["train.total"]}


def compare(alone: list[dict[str, float]], together: list[dict[str, float]]) -> dict[str, dict]:
    """Of each metric: mean and sd both ways, the paired differences' mean with its 95 % interval."""
    rows, n = {}, len(alone)
    for name in alone[0]:
        one, all_ = [m[name] for m in alone], [m[name] for m in together]
        differences = [b - a for a, b in zip(one, all_, strict=True)]
        half = T_95[n - 1] * statistics.stdev(differences) / n**0.5
        mean = statistics.mean(differences)
        rows[name] = {
            "alone": one, "together": all_, "difference": mean, "low": mean - half, "high": mean + half,
            "sd_alone": statistics.stdev(one), "sd_together": statistics.stdev(all_),
        }  # fmt: skip
    return rows


def measure(config: Config, seeds: int, folder: Path) -> dict[str, dict]:
    """Train ``seeds`` seeds both ways and compare."""
    configs = [config.model_copy(update={"seed": seed}) for seed in range(seeds)]
    together = train_together(configs, [folder / f"together{c.seed}" for c in configs])
    alone = [train(c, folder / f"alone{c.seed}", progress=False) for c in configs]
    return compare([metrics(run) for run in alone], [metrics(run) for run in together])


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/smoke.yaml")
    parser.add_argument("--seeds", type=int, default=10, choices=[n + 1 for n in T_95])
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    config = load_config(args.config)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(config, args.seeds, Path(folder))
    provenance = {"library_commit": library_commit(), "versions": versions(), "hardware": hardware()}
    write_json(args.output, {"config": config.name, "seeds": args.seeds, **provenance, "metrics": rows})
    for name, row in rows.items():
        interval = f"[{row['low']:+.4g}, {row['high']:+.4g}]"
        print(f"{name:32} {row['difference']:+.4g}  {interval}  sd {row['sd_alone']:.3g} alone, {row['sd_together']:.3g} together")


if __name__ == "__main__":
    main()
