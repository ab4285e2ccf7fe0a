"""The fair rival of an adaptive scheme: fixed weights, tuned on seeds that no comparison reports.

    python -m ternary_lib.tuning      # the ranking, and the winner's variants for configs/sweeps/ablations.yaml

A winner at another learning rate than the full system's enters twice: as it is, and the best of its rivals at that rate, since no
adaptive scheme here may change the rate by more than a twentieth.

The criterion is fixed beforehand: efficiency at the largest budget, mean over the recorded epochs of the last tenth of training,
over both pathways and over the tuning seeds.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ternary_lib import sweeps
from ternary_lib.comparison import Record, Summary, by_variant, summary
from ternary_lib.config import Config, ConfigError, config_from_mapping, load_config
from ternary_lib.coverage import efficiency
from ternary_lib.operations import NUM_OPERATIONS
from ternary_lib.strict_yaml import print_error

SWEEP = "configs/sweeps/tuning.yaml"
PRODUCTION = "configs/ternary_v5_5.yaml"  # what the winner is tried in, on other seeds
VARIANT, WEIGHTS = "tuned_fixed", "tuned_weights"  # the winner; where its rate is another, the best at the full system's rate
LABELS = {VARIANT: "fixed weights, tuned", WEIGHTS: "fixed weights, tuned at the full system's rate"}
LATE = 0.9  # the grid's runs of 100 epochs are judged by their last tenth, measured every other epoch


class Candidate(NamedTuple):
    """A point of the grid and its score over the tuning seeds."""

    variant: str
    label: str
    score: Summary
    scores: tuple[float, ...]  # by seed, in order
    config: Config


def score(record: Record) -> float:
    """A run's criterion: mean efficiency of both pathways over every recorded epoch of the last tenth."""
    history, config = record["history"], record["config"]
    total, n = config["schedules"]["total_epochs"], config["evaluation"]["budgets"][-1]
    late = [i for i, epoch in enumerate(history["epoch"]) if epoch >= LATE * total]
    found = [efficiency(history[f"{p}.coverage.argmax.{n}"][i] / NUM_OPERATIONS, n) for p in ("a", "b") for i in late]
    return sum(found) / len(found)


def ranking(records: Sequence[Record]) -> list[Candidate]:
    """The grid's points, best first; a tie goes to the name."""
    found = []
    for variant, runs in by_variant(records).items():
        inorder = [run for _, run in sorted(runs.items())]
        scores, config = tuple(score(run) for run in inorder), config_from_mapping(inorder[0]["config"])
        found.append(Candidate(variant, inorder[0].get("label", variant), summary(scores), scores, config))
    return sorted(found, key=lambda candidate: (-candidate.score.mean, candidate.variant))


def winner(tasks: Sequence[sweeps.Task], records: Sequence[Record]) -> Candidate:
    """The best point, once every run of the grid is recorded: the best of a part would be chosen by what happened to be finished.

    Raises:
        ConfigError: runs are missing.
    """
    if len(records) < len(tasks):
        raise ConfigError(f"{tasks[0].sweep}: {len(records)} of {len(tasks)} runs are recorded; make them with: ternary sweep {SWEEP}")
    return ranking(records)[0]


def entries(tasks: Sequence[sweeps.Task], records: Sequence[Record]) -> dict[str, dict[str, Any]]:
    """The variants that a complete grid adds to the ablations, as overrides of the production configuration.

    Raises:
        ConfigError: runs are missing.
    """
    best = winner(tasks, records)
    found = {VARIANT: overrides(best)}
    if not math.isclose(rate_factor(best), 1, rel_tol=1e-6):
        found[WEIGHTS] = overrides(next(c for c in ranking(records) if math.isclose(rate_factor(c), 1, rel_tol=1e-6)))
    return found


def is_entry(config: Config, changes: Mapping[str, Any]) -> bool:
    """Whether a configuration is the production run with these overrides; how it is evaluated and saved does not count."""
    wanted = load_config(PRODUCTION, changes)
    return all(getattr(config, part) == getattr(wanted, part) for part in ("data", "model", "loss", "balance", "statenet", "schedules"))


def rate_factor(chosen: Candidate) -> float:
    """What the candidate's learning rate is to that of the full system."""
    return chosen.config.schedules.learning_rate.values[0] / load_config(PRODUCTION).schedules.learning_rate.values[0]


def overrides(chosen: Candidate) -> dict[str, Any]:
    """A candidate's weights and rate factor as overrides of the production configuration."""
    base, factor = load_config(PRODUCTION), rate_factor(chosen)
    return {
        "statenet": {"signal": "none", "lr_scale": 0.0, "lambda_scale": 0.0},
        "balance": {"lambdas": list(chosen.config.balance.lambdas), "scale_bounds": [1.0, 1.0]},
        "schedules.learning_rate.values": [float(f"{factor * value:.6g}") for value in base.schedules.learning_rate.values],
    }


def as_variant(changes: Mapping[str, Any], name: str = VARIANT) -> str:
    """The entry for ``variants`` of configs/sweeps/ablations.yaml."""
    lines = [f"  {name}:", f'    label: "{LABELS[name]}"', "    set:"]
    return "\n".join([*lines, *(f"      {key}: {_flow(value)}" for key, value in changes.items())])


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return f"{value:.7f}".rstrip("0").ljust(3, "0") if isinstance(value, float) else str(value)


def main(arguments: list[str] | None = None) -> int:
    """Print ranking, winner and variant; status 2 and one line where the grid is not complete."""
    parser = argparse.ArgumentParser(prog="python -m ternary_lib.tuning", description="Choose the tuned fixed weights.")
    parser.add_argument("--output", metavar="DIR", help="where the records lie (default: results/sweeps)")
    root = parser.parse_args(arguments).output
    try:
        tasks = sweeps.load_sweep(SWEEP)
        records = sweeps.recorded(tasks, root)
        best = winner(tasks, records)
    except ConfigError as error:
        print_error(error)
        return 2
    for place, candidate in enumerate(ranking(records), 1):
        s = candidate.score
        print(f"{place:3}  {candidate.label:44} {s.mean:.4f} [{s.low:.4f}, {s.high:.4f}]  n = {s.n}")
    print(f"\n# {best.label}: chosen on seeds {', '.join(map(str, sorted({r['seed'] for r in records})))}")
    print("\n".join(as_variant(changes, name) for name, changes in entries(tasks, records).items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
