"""Seeds trained together against the same seeds trained one by one: do their final metrics have the same distribution?

``python -m benchmarks.stacked --config configs/smoke.yaml --seeds 10 --output results/stacked.json``
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from ternary_lib.comparison import summary
from ternary_lib.config import Config, load_config
from ternary_lib.journal import Run
from ternary_lib.records import hardware, library_commit, versions, write_json
from ternary_lib.strict_yaml import InputError
from ternary_lib.training import train, train_together


def metrics(run: Run) -> dict[str, float]:
    """What a run is judged by, at its last epoch."""
    last, final, top = {name: column[-1] for name, column in run.history.items()}, run.record["final"], run.config.evaluation.budgets[-1]
    names = ("rate", "distortion", "exact_all", f"coverage.argmax.{top}", f"coverage.expectation.{top}")
    found = {}
    for path in "ab":
        found |= {f"{path}.{name}": float(last[f"{path}.{name}"]) for name in names}
        found[f"{path}.kl_to_uniform"] = float(final[path]["kl_to_uniform"])
    return found | {"validation loss": last["validation.total"], "training loss": last["train.total"]}


def compare(alone: list[dict[str, float]], together: list[dict[str, float]]) -> dict[str, dict]:
    """Of each metric: the values and their sd both ways, the paired differences' mean with its 95 % interval."""
    rows = {}
    for name in alone[0]:
        one, all_ = [m[name] for m in alone], [m[name] for m in together]
        paired = summary([b - a for a, b in zip(one, all_, strict=True)])
        rows[name] = {
            "alone": one, "together": all_, "difference": paired.mean, "low": paired.low, "high": paired.high,
            "sd_alone": summary(one).sd, "sd_together": summary(all_).sd,
        }  # fmt: skip
    return rows


def measure(config: Config, seeds: int, folder: Path) -> dict[str, dict]:
    """Train ``seeds`` seeds both ways and compare."""
    configs = [config.model_copy(update={"seed": seed}) for seed in range(seeds)]
    together = train_together(configs, [folder / f"together{c.seed}" for c in configs])
    alone = [train(c, folder / f"alone{c.seed}", progress=False) for c in configs]
    return compare([metrics(run) for run in alone], [metrics(run) for run in together])


def main(arguments: list[str] | None = None) -> int:
    """Measure and write the result; status 2 and one line on bad input, found before anything is trained."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stacked", description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/smoke.yaml", metavar="FILE", help="default: configs/smoke.yaml")
    parser.add_argument("--seeds", type=int, default=10, metavar="N", help="at least 2 (default: 10)")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the JSON record to write")
    given = parser.parse_args(arguments)
    if given.seeds < 2 or not given.output.parent.is_dir() or given.output.is_dir():
        parser.error("expected --seeds of at least 2 and an --output in a directory that exists")
    started = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        config = load_config(given.config)
        with tempfile.TemporaryDirectory() as folder:
            rows = measure(config, given.seeds, Path(folder))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    provenance = {"library_commit": library_commit(), "versions": versions(), "hardware": hardware(), "started": started}
    write_json(given.output, {"config": config.name, "seeds": given.seeds, **provenance, "metrics": rows})
    for name, row in rows.items():
        interval = f"[{row['low']:+.4g}, {row['high']:+.4g}]"
        print(f"{name:32} {row['difference']:+.4g}  {interval}  sd {row['sd_alone']:.3g} alone, {row['sd_together']:.3g} together")
    return 0


if __name__ == "__main__":
    sys.exit(main())
