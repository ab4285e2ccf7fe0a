"""A configuration that trains in about a second, and a way to run the command line as a user would."""

import os
import subprocess
import sys
from pathlib import Path

from ternary_lib.config import load_config

ROOT = Path(__file__).resolve().parents[1]
OVERRIDES = {
    "name": "micro",
    "data.train": 1536,
    "data.validation": 512,
    "schedules.total_epochs": 4,
    "schedules.phases": [1, 2, 3],
    "training.checkpoint_every": 2,
    "evaluation.budgets": [1000, 2000],
    "evaluation.final_draws": 3000,
    "evaluation.cell_draws": 8192,
    "evaluation.information_samples": 64,
}


def micro_config(**more):
    """The micro configuration; keyword ``a__b`` overrides key ``a.b``."""
    return load_config("configs/smoke.yaml", OVERRIDES | {key.replace("__", "."): value for key, value in more.items()})


def micro_arguments(*more):
    """The same as arguments of ``ternary train``."""
    settings = [f"--set={key}={str(value).replace(chr(39), '')}" for key, value in OVERRIDES.items()]
    return ["train", "--config", "configs/smoke.yaml", *settings, *map(str, more)]


def ternary(*arguments, **environment):
    """Run ``python -m ternary_lib`` in a process of its own, from the project's root."""
    return subprocess.run(command(*arguments), cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=300)


def command(*arguments):
    """The command ``ternary`` runs."""
    return [sys.executable, "-m", "ternary_lib", *map(str, arguments)]


def copied(values):
    """A named tuple of tensors, each cloned."""
    return type(values)(*(value.clone() for value in values))
