"""Run records and provenance: what was run, by which code, on what, and what came out."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, ValidationInfo, field_validator

from ternary_lib.config import IN_CHECKOUT, PROJECT_ROOT, WORK_ROOT, Config, ConfigError, config_from_mapping, config_hash, describe_fault
from ternary_lib.files import write_atomically

# What a run's numbers are made by. Everything else may change without making a run stale.
TRAINING_MODULES = (
    "operations", "randomness", "data", "schedules", "model", "losses", "statenet", "control", "step", "fast_path",
    "hypergradient", "coverage", "evaluation", "journal", "machine", "training",
)  # fmt: skip
# The numbers' own version, raised by hand when a change of the code moves the last bit of any run that could be made before.
# Stored records of an older version are made again; a test that trains a reference run notices a change that was not declared.
NUMBERS = 1
PACKAGES = ("torch", "numpy", "pydantic", "safetensors")


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")  # what other versions of the code wrote besides does no harm


class Pathways(_Part):
    """What was measured of each pathway, by name."""

    a: dict[str, Any]
    b: dict[str, Any]


class RunRecord(_Part):
    """What every run's record says; it is read as a mapping, this is what it is checked by."""

    name: str
    seed: int = Field(ge=0)
    config_hash: str
    source_hash: str
    weights_sha256: str
    library_commit: str | None
    versions: dict[str, str]
    device: str
    hardware: dict[str, Any]
    step_path: str
    started: str
    seconds: dict[str, float]
    best_validation_loss: FiniteFloat
    best_epoch: int
    warnings: list[str] = Field(default_factory=list)
    pathways: list[Literal["a", "b"]] = Field(default_factory=lambda: ["a", "b"], min_length=1)  # those that a sweep's variant trains
    variant: str = ""
    config: dict[str, Any]
    untrained: Pathways
    final: Pathways
    history: dict[str, list[int | float | None]]

    @field_validator("seconds")
    @classmethod
    def _has_total(cls, seconds: dict[str, float]) -> dict[str, float]:
        if not seconds.get("total", -1.0) >= 0:
            raise ValueError("expected 'total', at least 0")
        return seconds

    @field_validator("config")
    @classmethod
    def _is_of_seed(cls, config: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "seed" in info.data and config.get("seed") != info.data["seed"]:
            raise ValueError(f"expected the record's own seed, {info.data['seed']}")
        return config

    @field_validator("history")
    @classmethod
    def _has_epochs(cls, columns: dict[str, list[int | float | None]]) -> dict[str, list[int | float | None]]:
        if not columns.get("epoch"):
            raise ValueError("expected a column 'epoch' with at least one entry")
        if longer := [name for name, values in columns.items() if len(values) > len(columns["epoch"])]:
            raise ValueError(f"column {longer[0]!r} has more entries than there are epochs")
        return columns


def source_hash() -> str:
    """SHA-256 of the modules that make a run's numbers, comments and docstrings left out."""
    files = [Path(__file__).parent / f"{name}.py" for name in TRAINING_MODULES]
    return _hash_of(tuple((file, file.stat().st_mtime_ns, file.stat().st_size) for file in files))


@lru_cache(maxsize=4)
def _hash_of(files: tuple[tuple[Path, int, int], ...]) -> str:
    # Every checkpoint names the code; parsing it anew each time would take a tenth of a second an epoch from training.
    digest = hashlib.sha256()
    for file, _, _ in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
                node.body = node.body[1:]
        digest.update(_spell(tree).encode())
    return digest.hexdigest()


def _spell(node: Any) -> str:
    # ast.dump's text, made the same under every Python: which empty fields it prints differs between versions.
    if isinstance(node, ast.AST):
        fields = [f"{name}={_spell(value)}" for name, value in ast.iter_fields(node) if value not in (None, [])]
        return f"{type(node).__name__}({','.join(fields)})"
    return f"[{','.join(map(_spell, node))}]" if isinstance(node, list) else repr(node)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a run's numbers depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def run_key(config: Config) -> str:
    """Ten hex digits of everything a run's numbers depend on: configuration, code, torch's version."""
    text = "|".join((config_hash(config), source_hash(), versions()["torch"].split("+")[0]))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def results_dir() -> Path:
    """Where committed records lie: $TERNARY_RESULTS, or results/ under the project's root."""
    return Path(os.environ.get("TERNARY_RESULTS") or PROJECT_ROOT / "results")


def sweeps_dir() -> Path:
    """Where sweeps' records lie: ``sweeps`` in ``results_dir()``, but outside a checkout under the current folder's results/."""
    given = os.environ.get("TERNARY_RESULTS")
    return (Path(given) if given else WORK_ROOT / "results") / "sweeps"


def default_run_dir(config: Config) -> Path:
    """runs/<name>-seed<seed>-<key> in the checkout or else the current folder: the same work finds its own run, other work never."""
    return WORK_ROOT / "runs" / f"{config.name}-seed{config.seed}-{run_key(config)}"


def same_config(record: Mapping[str, Any], config: Config) -> bool:
    """Whether a record is of this configuration, as today's code reads it.

    An option that was added since the record was made takes its default and changes nothing.
    """
    try:
        return config_hash(config_from_mapping(record["config"])) == config_hash(config)
    except (KeyError, TypeError, AttributeError, ConfigError):
        return False


def library_commit() -> str | None:
    """The checkout's commit, with ``+changes`` where files differ from it; None outside a checkout."""
    try:
        if not IN_CHECKOUT:  # git would answer for whatever repository the package happens to be installed in
            return None
        head = _git("rev-parse", "HEAD")
        return head + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def hardware() -> dict[str, Any]:
    """The machine, in the words a reader needs to judge a time by."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {"cpu": model, "cores": os.cpu_count(), "system": f"{platform.system()} {platform.machine()}"}


def provenance() -> dict[str, Any]:
    """When, by which code and on what something is measured: what every record of a measurement begins with."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    return {"started": started, "library_commit": library_commit(), "versions": versions(), "hardware": hardware()}


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically, one top-level key a line and a history column a line, so that a diff can be read."""
    write_atomically(path, (_layout(value) + "\n").encode())


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON object; ConfigError, one line, where there is none."""
    path = Path(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such record") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not readable as JSON: expected an object ({' '.join(str(error).split())[:200]})") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected a JSON object")
    return value


def read_run(path: str | Path) -> dict[str, Any]:
    """Read a run's record; ConfigError, one line, where it is none or lacks what every run's says."""
    record = read_json(path)
    try:
        RunRecord.model_validate(record)
    except ValidationError as error:
        raise ConfigError(f"{path}: no record of a run: {describe_fault(error, RunRecord)}") from None
    return record


def load_record(name: str) -> dict[str, Any]:
    """A committed run record, ``results/runs/<name>.json``."""
    return read_run(results_dir() / "runs" / f"{name}.json")


def _git(*arguments: str) -> str:
    command = ("git", "-C", str(PROJECT_ROOT), *arguments)
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def _layout(value: Any, depth: int = 2, indent: str = "") -> str:
    if depth and isinstance(value, Mapping) and value:
        inner = indent + " "
        rows = [f"{inner}{json.dumps(k)}: {_layout(v, depth - 1, inner)}" for k, v in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    return json.dumps(value, ensure_ascii=False)
