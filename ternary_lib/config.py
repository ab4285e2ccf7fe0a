"""Configuration: frozen, validated, with a reason beside each default; a YAML file only overrides."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ternary_lib.strict_yaml import ConfigError, InputError, nearest, one_line, parse_yaml, read_yaml

__all__ = ["Config", "ConfigError", "InputError", "config_hash", "dump_config", "load_config", "parse_yaml"]

PROJECT_ROOT = Path(__file__).resolve().parents[1]
NUM_OPERATIONS = 3**9

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
EpochIndex = Annotated[int, Field(ge=0)]
Bounds = tuple[NonNegative, NonNegative]


class Section(BaseModel):
    """Base of every section: immutable, strict about types, unknown keys refused, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DataConfig(Section):
    """How the 19,683 operations are split (80 / 10 / 10 %, the rest is the test set)."""

    split_seed: int = 42  # fixed apart from the run's seed: every run is scored on the same test set
    train: Count = 15_746
    validation: Annotated[int, Field(ge=0)] = 1_968

    @model_validator(mode="after")
    def _fits(self) -> DataConfig:
        if self.train + self.validation > NUM_OPERATIONS:
            raise ValueError(f"train + validation must be at most {NUM_OPERATIONS}")
        return self


class ModelConfig(Section):
    """Layer widths; the defaults give 50,203 + 117,499 + 1,068 = 168,770 parameters."""

    latent_dim: Count = 16
    encoder_widths: tuple[Count, ...] = (256, 128, 64)
    decoder_a_widths: tuple[Count, ...] = (32, 64)
    decoder_b_width: Count = 128
    decoder_b_blocks: Annotated[int, Field(ge=0)] = 2


class RhoConfig(Section):
    """Permeability ρ: isolation, consolidation, gated resonance, ultra-exploration."""

    start: Fraction = 0.1
    consolidated: Fraction = 0.3  # reached at the end of phase 2
    final: Fraction = 0.7  # the level of phase 4, and the target of phase 3
    gate_low: NonNegative = 0.8  # the gate is open while gate_low < grad_ratio < gate_high
    gate_high: Positive = 1.2
    gate: Literal["hold", "fall_back"] = "hold"  # what a closed gate does to ρ in phase 3
    ramp_epochs: Positive = 130  # open epochs phase 3 needs from `consolidated` to `final`


class TauAConfig(Section):
    """Cyclic temperature of pathway A: base + A·cos(2πt/period + offset)."""

    start: Positive = 1.0
    end: Positive = 0.3
    amplitude: NonNegative = 0.1  # relative to the base, before phase 4
    boost: NonNegative = 0.5  # absolute amplitude in phase 4
    period: Positive = 30
    offset: float = math.pi / 2  # the public implementation leaves it out (0)
    floor: NonNegative = 0.1  # departure: the formula alone goes negative in phase 4


class TauBConfig(Section):
    """Falling temperature of pathway B."""

    start: Positive = 0.9
    end: Positive = 0.2
    lag: NonNegative = 30  # epochs before it starts to fall
    boost: Positive = 0.3  # its level in phase 4


class BetaConfig(Section):
    """KL weight β_A rises linearly; β_B = |sin(lag)|·β_A."""

    start: NonNegative = 0.6
    end: NonNegative = 1.0
    lag: float = math.pi / 4


class LearningRateConfig(Section):
    """Piecewise constant: values[0] from epoch 0, values[i + 1] from milestones[i]."""

    values: tuple[Positive, ...] = (1e-3, 5e-4, 3e-4, 1e-4, 5e-5, 2e-5, 1e-5, 5e-6)
    milestones: tuple[EpochIndex, ...] = (50, 120, 180, 220, 250, 300, 350)

    @model_validator(mode="after")
    def _matched(self) -> LearningRateConfig:
        if len(self.values) != len(self.milestones) + 1:
            raise ValueError(f"needs one value more than milestones, got {len(self.values)} and {len(self.milestones)}")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("milestones must rise")
        return self


class Lambda3Cycle(Section):
    """λ₃ set anew each epoch, base + amplitude·cos(2πt/period + offset): the public implementation's habit."""

    base: NonNegative = 0.3
    amplitude: NonNegative = 0.15
    period: Positive = 30
    offset: float = math.pi / 2


class SchedulesConfig(Section):
    """Every schedule as a function of the epoch."""

    total_epochs: Count = 400
    phases: tuple[EpochIndex, EpochIndex, EpochIndex] = (40, 120, 250)  # first epochs of phases 2, 3 and 4
    rho: RhoConfig = RhoConfig()
    tau_a: TauAConfig = TauAConfig()
    tau_b: TauBConfig = TauBConfig()
    beta: BetaConfig = BetaConfig()
    learning_rate: LearningRateConfig = LearningRateConfig()
    lambda_3: Lambda3Cycle | None = None  # None: λ₃ is only moved by StateNet

    @model_validator(mode="after")
    def _ordered(self) -> SchedulesConfig:
        if list(self.phases) != sorted(self.phases):
            raise ValueError("phases must rise")
        return self


class LossConfig(Section):
    """Weights and forms of the loss terms."""

    output_entropy_weight: NonNegative = 0.05  # α_ent
    repulsion_weight: NonNegative = 0.01  # α_rep
    repulsion_sigma: Positive = 0.5
    repulsion: Literal["gaussian", "off_diagonal"] = "gaussian"  # off_diagonal: exp(-d²/σ²), i ≠ j (published)
    free_bits: NonNegative = 0.0  # nats per latent dimension not charged
    latent_entropy: Literal["soft", "hard"] = "soft"  # a hard histogram has no gradient
    latent_bins: Annotated[int, Field(ge=2)] = 50
    latent_range: Positive = 3.0  # bins cover [-range, range]


class BalanceConfig(Section):
    """Loss weights λ and the gradient scales g_A, g_B."""

    lambdas: tuple[NonNegative, NonNegative, NonNegative] = (0.7, 0.7, 0.3)
    lambda_bounds: tuple[Bounds, Bounds, Bounds] = ((0.5, 0.95), (0.5, 0.95), (0.15, 0.75))
    lambda_step: NonNegative = 0.0  # ± an epoch on λ₁, λ₂ by grad_ratio (published: 0.02)
    scale_bounds: tuple[Positive, Positive] = (0.5, 2.0)
    momentum: Fraction = 0.9  # of the gradient norms' moving average, out of balance
    momentum_balanced: Fraction = 0.95  # and in balance
    initial_norm: Positive | None = None  # None: the first measurement (published: 1.0)
    norm_after_clip: bool = False  # published: norms are taken after clipping

    @model_validator(mode="after")
    def _inside(self) -> BalanceConfig:
        for value, (low, high) in zip(self.lambdas, self.lambda_bounds, strict=True):
            if not low <= value <= high:
                raise ValueError(f"a weight of {value} is outside its bounds [{low}, {high}]")
        if self.scale_bounds[0] > self.scale_bounds[1]:
            raise ValueError("scale_bounds must rise")
        return self


class StateNetConfig(Section):
    """The meta-controller and the signal it learns from."""

    signal: Literal["loss", "hypergradient", "none"] = "loss"
    lr_scale: NonNegative = 0.05
    lambda_scale: NonNegative = 0.01
    lr_bounds: tuple[Positive, Positive] = (1e-6, 0.01)
    penalty: NonNegative = 1.0  # weight of ‖corrections‖²
    learning_rate: Positive = 1e-3  # its own AdamW takes one step an epoch, as it acts once an epoch
    hypergradient_interval: Count = 16  # steps between two look-aheads


class TrainingConfig(Section):
    """The optimisation loop."""

    batch_size: Count = 64
    weight_decay: NonNegative = 1e-4
    grad_clip: Positive = 1.0
    deterministic: bool = False  # refuse every algorithm without a deterministic form, CUDA's included
    checkpoint_every: Count = 50  # epochs between two checkpoints that are kept


class EvaluationConfig(Section):
    """How many prior draws are decoded."""

    budgets: tuple[Count, ...] = (10_000, 50_000, 195_000)  # every epoch; smaller ones are prefixes of the largest
    final_draws: Count = 511_758  # 26 a cell, at the last epoch only
    cell_draws: Count = 19_683_000  # 1,000 a cell: cell masses, after the last epoch
    information_samples: Count = 4_096  # posterior draws for I(x; z)

    @model_validator(mode="after")
    def _rising(self) -> EvaluationConfig:
        if not self.budgets or list(self.budgets) != sorted(set(self.budgets)):
            raise ValueError("budgets must be given and rise")
        if self.final_draws < self.budgets[-1]:
            raise ValueError("final_draws must be at least the largest budget")
        return self


class Config(Section):
    """One experiment, completely described."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] = "ternary_v5_5"
    seed: EpochIndex = 42
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    schedules: SchedulesConfig = SchedulesConfig()
    loss: LossConfig = LossConfig()
    balance: BalanceConfig = BalanceConfig()
    statenet: StateNetConfig = StateNetConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()


def load_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read a YAML configuration, apply dotted overrides, validate.

    A relative path is looked for under the current folder, then under the project's root. A file may
    start from another with ``extends: other.yaml`` (relative to itself).

    Raises:
        ConfigError: one line naming the file, the key and what was expected.

    Example:
        >>> load_config("configs/smoke.yaml", {"schedules.tau_a.boost": 0.4}).schedules.tau_a.boost
        0.4
    """
    found = find_config(path)
    data = _read_with_bases(found, seen=())
    for dotted, value in (overrides or {}).items():
        _set_dotted(data, dotted, value)
    return config_from_mapping(data, origin=str(path))


def config_from_mapping(data: Mapping[str, Any], origin: str = "configuration") -> Config:
    """Validate a nested mapping; ``origin`` names it in error messages."""
    try:
        return Config.model_validate_json(json.dumps(data))
    except ValidationError as error:
        raise ConfigError(f"{origin}: {_describe(error)}") from None
    except (TypeError, ValueError) as error:  # a date, a set: YAML can spell what JSON cannot
        raise ConfigError(f"{origin}: {one_line(error)}") from None


def find_config(path: str | Path) -> Path:
    """The file that ``path`` names, under the current folder or else under the project's root."""
    for candidate in (Path(path), PROJECT_ROOT / path):
        if candidate.is_file():
            return candidate
    known = sorted(str(p.relative_to(PROJECT_ROOT)) for p in (PROJECT_ROOT / "configs").glob("*.yaml"))
    raise ConfigError(f"{path}: no such configuration file{nearest(str(path), known)}")


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
    if not isinstance(dotted, str) or not all(dotted.split(".")):
        raise ConfigError(f"override {dotted!r}: expected a dotted key such as schedules.tau_a.boost")
    *parents, last = dotted.split(".")
    for part in parents:
        if not isinstance(data.get(part), dict):
            data[part] = {}
        data = data[part]
    data[last] = value


def _describe(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"]) or "the file"
    if first["type"] == "extra_forbidden":
        parent = _section_at(first["loc"][:-1])
        known = list(parent.model_fields) if parent else []
        return f"{key}: unknown key{nearest(str(first['loc'][-1]), known)}"
    message = first["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(first["input"], dict) else f", got {json.dumps(first['input'], default=str)[:60]}"
    return one_line(f"{key}: {message[0].lower()}{message[1:]}{shown}")


def _section_at(location: tuple[Any, ...]) -> type[BaseModel] | None:
    section: Any = Config
    for part in location:
        annotation = section.model_fields[part].annotation
        kinds = [annotation, *getattr(annotation, "__args__", ())]
        section = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)
        if section is None:
            return None
    return section
