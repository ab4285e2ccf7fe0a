"""Configurations: read from YAML, overridden, validated, hashed; the sections themselves stand in ``sections``."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from ternary_lib.sections import (
    BalanceConfig,
    Config,
    DataConfig,
    EvaluationConfig,
    LossConfig,
    ModelConfig,
    PriorMatchingConfig,
    SchedulesConfig,
    StateNetConfig,
    TrainingConfig,
)
from ternary_lib.strict_yaml import ConfigError, InputError, nearest, one_line, parse_yaml, read_yaml

__all__ = [
    "BalanceConfig",
    "Config",
    "ConfigError",
    "DataConfig",
    "EvaluationConfig",
    "InputError",
    "LossConfig",
    "ModelConfig",
    "PriorMatchingConfig",
    "SchedulesConfig",
    "StateNetConfig",
    "TrainingConfig",
    "config_hash",
    "describe_fault",
    "dump_config",
    "load_config",
    "parse_yaml",
    "read_overrides",
]

CHECKOUT = Path(__file__).resolve().parents[1]
IN_CHECKOUT = (CHECKOUT / "pyproject.toml").is_file()
PROJECT_ROOT = CHECKOUT if IN_CHECKOUT else CHECKOUT / "ternary_lib" / "shipped"  # configurations and weights that an installed package has
WORK_ROOT = CHECKOUT if IN_CHECKOUT else Path()  # where runs/ is made: never among installed files


def load_config(path: str | Path, overrides: Mapping[str, Any] | str | None = None, seed: int | None = None) -> Config:
    """Read a YAML configuration, apply dotted overrides and a seed, validate.

    A relative path is looked for under the current folder, then under the project's root. A file may
    start from another with ``extends: other.yaml`` (relative to itself). Overrides are a mapping, or its
    text as ``papermill -p overrides`` hands it over; ``seed`` beats theirs.

    Raises:
        ConfigError: one line naming the file, the key and what was expected.

    Example:
        >>> load_config("configs/smoke.yaml", {"schedules.tau_a.boost": 0.4}).schedules.tau_a.boost
        0.4
    """
    found = find_config(path)
    data = _read_with_bases(found, seen=())
    chosen = {} if seed is None else {"seed": seed}
    for dotted, value in (read_overrides(overrides) | chosen).items():
        _set_dotted(data, dotted, value)
    return config_from_mapping(data, origin=str(path))


def read_overrides(overrides: Mapping[str, Any] | str | None) -> dict[str, Any]:
    """Overrides as a mapping of dotted keys; text is read as YAML, of which JSON is a part.

    Raises:
        ConfigError: the text is no mapping; one line with an example of one.

    Example:
        >>> read_overrides('{"schedules.tau_a.amplitude": 0.2}') == read_overrides("{schedules.tau_a.amplitude: 0.2}")
        True
    """
    found, example = overrides, "expected a mapping such as '{schedules.tau_a.amplitude: 0.2}'"
    if isinstance(overrides, str):
        try:
            found = parse_yaml(overrides)
        except yaml.YAMLError as error:
            raise ConfigError(f"overrides {overrides[:80]!r}: {example}: {one_line(error)}") from None
    if not isinstance(found, Mapping | None):
        raise ConfigError(f"overrides {str(overrides)[:80]!r}: {example}")
    return dict(found or {})


def config_from_mapping(data: Mapping[str, Any], origin: str = "configuration") -> Config:
    """Validate a nested mapping; ``origin`` names it in error messages."""
    try:
        return Config.model_validate_json(json.dumps(data))
    except ValidationError as error:
        raise ConfigError(f"{origin}: {describe_fault(error)}") from None
    except (TypeError, ValueError) as error:  # a date, a set: YAML can spell what JSON cannot
        raise ConfigError(f"{origin}: {one_line(error)}") from None


def find_config(path: str | Path) -> Path:
    """The file that ``path`` names, under the current folder or else under the project's root."""
    for candidate in (Path(path), PROJECT_ROOT / path):
        try:
            if candidate.is_file():
                return candidate
        except (OSError, ValueError):  # a name too long, or with a NUL in it, names no file
            continue
    known = sorted(str(p.relative_to(PROJECT_ROOT)) for p in (PROJECT_ROOT / "configs").glob("*.yaml"))
    shown = str(path)[:120]
    raise ConfigError(f"{shown}: no such configuration file{nearest(shown, known)}")


def config_hash(config: Config) -> str:
    """SHA-256 of the resolved configuration, its name left out: the same numbers give the same hash."""
    text = json.dumps(config.model_dump(mode="json", exclude={"name"}), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML that ``load_config`` reads back to an equal object."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read_with_bases(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    path = path.resolve()
    if path in seen:
        raise ConfigError(f"{path.name}: extends itself")
    data = read_yaml(path)
    base = data.pop("extends", None)
    if base is None:
        return data
    if not isinstance(base, str):
        raise ConfigError(f"{path.name}: extends: expected a file name")
    base_path = path.parent / base
    return _merge(_read_with_bases(base_path if base_path.is_file() else find_config(base), (*seen, path)), data)


def _merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _set_dotted(data: dict[str, Any], dotted: str, value: Any) -> None:
    if not isinstance(dotted, str) or not all(dotted.split(".")) or dotted.count(".") > 9:
        raise ConfigError(f"override {repr(dotted)[:80]}: expected a dotted key such as schedules.tau_a.boost")
    *parents, last = dotted.split(".")
    for part in parents:
        if not isinstance(data.get(part), dict):
            data[part] = {}
        data = data[part]
    value = copy.deepcopy(value)  # a later dotted key may write into it
    both = isinstance(value, dict) and isinstance(data.get(last), dict)
    data[last] = _merge(data[last], value) if both else value


def describe_fault(error: ValidationError, root: type[BaseModel] = Config) -> str:
    """One line for the first fault pydantic found: the key, and what was expected or the name that was perhaps meant."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part)[:80] for part in first["loc"]) or "the file"
    if first["type"] == "extra_forbidden":
        parent = _section_at(root, first["loc"][:-1])
        known = list(parent.model_fields) if parent else []
        return f"{key}: unknown key{nearest(str(first['loc'][-1]), known)}"
    message = first["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(first["input"], dict) else f", got {json.dumps(first['input'], default=str)[:60]}"
    return one_line(f"{key}: {message[0].lower()}{message[1:]}{shown}")


def _section_at(root: type[BaseModel], location: tuple[Any, ...]) -> type[BaseModel] | None:
    section: Any = root
    for part in location:
        if part not in section.model_fields:  # the key of a mapping of sections
            continue
        annotation = section.model_fields[part].annotation
        kinds = [annotation, *getattr(annotation, "__args__", ())]
        section = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)
        if section is None:
            return None
    return section
