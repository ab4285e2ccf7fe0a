"""The sections of a configuration: frozen, validated, with a reason beside each default; a YAML file only overrides."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

NUM_OPERATIONS = 3**9

SMALLEST, LARGEST = 1e-30, 1e30  # single precision has room for these


def _in_reach(value: float) -> float:
    if value and not SMALLEST <= abs(value) <= LARGEST:
        raise ValueError(f"input should be 0 or of a size from {SMALLEST:g} to {LARGEST:g}")
    return value


Number = Annotated[float, AfterValidator(_in_reach)]
Positive = Annotated[Number, Field(gt=0)]
NonNegative = Annotated[Number, Field(ge=0)]
Fraction = Annotated[Number, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=10**10)]  # bounds far above any use: a slip of the keyboard is not worth an allocation
Listed = Annotated[int, Field(ge=1, le=10**8)]  # eight bytes each, at once
Held = Annotated[int, Field(ge=1, le=10**5)]  # codes and what is computed of them, at once
Width = Annotated[int, Field(ge=1, le=2**14)]
EpochIndex = Annotated[int, Field(ge=0, le=10**6)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Widths = Annotated[tuple[Width, ...], Field(min_length=1, max_length=16)]
Bounds = tuple[NonNegative, NonNegative]


class Section(BaseModel):
    """Base of every section: immutable, strict about types, unknown keys refused, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DataConfig(Section):
    """How the 19,683 operations are split (80 / 10 / 10 %, the rest is the test set)."""

    split_seed: Seed = 42  # fixed apart from the run's seed: every run is scored on the same test set
    train: Count = 15_746
    validation: Count = 1_968  # at least one: the best epoch is chosen by it

    @model_validator(mode="after")
    def _fits(self) -> DataConfig:
        if self.train + self.validation > NUM_OPERATIONS:
            raise ValueError(f"train + validation must be at most {NUM_OPERATIONS}")
        return self


class ModelConfig(Section):
    """Layer widths; the defaults give 50,203 + 117,499 + 1,068 = 168,770 parameters."""

    latent_dim: Width = 16
    encoder_widths: Widths = (256, 128, 64)
    decoder_a_widths: Widths = (32, 64)
    decoder_b_width: Width = 128
    decoder_b_blocks: Annotated[int, Field(ge=0, le=64)] = 2
    stop_gradient: bool = True  # off: the injected code carries its gradient back into the other pathway (an ablation)


class RhoConfig(Section):
    """Permeability ρ: isolation, consolidation, gated resonance, ultra-exploration."""

    start: Fraction = 0.1
    consolidated: Fraction = 0.3  # reached at the end of phase 2
    final: Fraction = 0.7  # the level of phase 4, and the target of phase 3
    gate_low: NonNegative = 0.8  # the gate is open while gate_low < grad_ratio < gate_high
    gate_high: Positive = 1.2
    gate: Literal["hold", "fall_back"] = "hold"  # what a closed gate does to ρ in phase 3
    ramp_epochs: Positive = 130  # open epochs phase 3 needs from `consolidated` to `final`

    @model_validator(mode="after")
    def _ordered(self) -> RhoConfig:
        if self.gate_low >= self.gate_high:
            raise ValueError(f"gate_low must be below gate_high, got {self.gate_low} and {self.gate_high}")
        return self


class TauAConfig(Section):
    """Cyclic temperature of pathway A: base + A·cos(2πt/period + offset)."""

    start: Positive = 1.0
    end: Positive = 0.3
    amplitude: NonNegative = 0.1  # relative to the base, before phase 4
    boost: NonNegative = 0.5  # absolute amplitude in phase 4
    period: Positive = 30
    offset: Number = math.pi / 2  # the public implementation leaves it out (0)
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
    lag: Number = math.pi / 4


class LearningRateConfig(Section):
    """Piecewise constant: values[0] from epoch 0, values[i + 1] from milestones[i]."""

    values: tuple[Positive, ...] = (1e-3, 5e-4, 3e-4, 1e-4, 5e-5, 2e-5, 1e-5, 5e-6)
    milestones: tuple[EpochIndex, ...] = (50, 120, 180, 220, 250, 300, 350)

    @model_validator(mode="after")
    def _matched(self) -> LearningRateConfig:
        if len(self.values) != len(self.milestones) + 1:
            raise ValueError(f"must have one value more than milestones, got {len(self.values)} and {len(self.milestones)}")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("milestones must rise")
        return self


class Lambda3Cycle(Section):
    """λ₃ set anew each epoch, base + amplitude·cos(2πt/period + offset): the public implementation's habit."""

    base: NonNegative = 0.3
    amplitude: NonNegative = 0.15
    period: Positive = 30
    offset: Number = math.pi / 2


class SchedulesConfig(Section):
    """Every schedule as a function of the epoch."""

    total_epochs: Annotated[int, Field(ge=1, le=10**6)] = 400
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
    latent_bins: Annotated[int, Field(ge=2, le=10**5)] = 50
    latent_range: Positive = 3.0  # bins cover [-range, range]


class PriorMatchingConfig(Section):
    """A term of each pathway's loss that makes decoded prior draws uniform over the operations."""

    draws: Held = 1_024  # z ~ N(0, I) decoded a step, the same ones by both pathways
    from_phase: Annotated[int, Field(ge=1, le=4)] = 2  # before, a pathway learns to reconstruct
    cells: NonNegative = 10.0  # weight of the χ² of the operations' masses: every operation equally frequent
    memory: Annotated[Number, Field(ge=0, lt=1)] = 0.998  # of the moving average of what was decoded: 1,024 draws say little of all cells
    marginals: NonNegative = 0.0  # weight of 9 ln 3 - H_output of the draws: each position's values equally frequent, and no more


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
                raise ValueError(f"a weight must lie within its bounds [{low}, {high}], got {value}")
        if self.scale_bounds[0] > self.scale_bounds[1]:
            raise ValueError("scale_bounds must rise")
        return self


class StateNetConfig(Section):
    """The meta-controller and the signal it learns from."""

    signal: Literal["loss", "hypergradient", "none", "random"] = "loss"  # random: uniform corrections, a control experiment
    lr_scale: NonNegative = 0.05
    lambda_scale: NonNegative = 0.01
    lr_bounds: tuple[Positive, Positive] = (1e-6, 0.01)
    penalty: NonNegative = 1.0  # weight of ‖corrections‖²
    learning_rate: Positive = 1e-3  # its own AdamW takes one step an epoch, as it acts once an epoch
    hypergradient_interval: Annotated[int, Field(ge=2)] = 16  # steps between two look-aheads, each of which takes two

    @model_validator(mode="after")
    def _ordered(self) -> StateNetConfig:
        if self.lr_bounds[0] > self.lr_bounds[1]:
            raise ValueError("lr_bounds must rise")
        return self


class TrainingConfig(Section):
    """The optimisation loop."""

    batch_size: Held = 64
    weight_decay: NonNegative = 1e-4
    grad_clip: Positive = 1.0
    deterministic: bool = False  # refuse every algorithm without a deterministic form, CUDA's included
    checkpoint_every: Count = 50  # epochs between two checkpoints that are kept


class EvaluationConfig(Section):
    """How often the network is measured, and how many prior draws are decoded."""

    every: Count = 1  # epochs between two measurements, the last epoch always among them; a checkpoint goes with each
    budgets: tuple[Listed, ...] = (10_000, 50_000, 195_000)  # every epoch; smaller ones are prefixes of the largest
    final_draws: Listed = 511_758  # 26 a cell, at the last epoch only
    cell_draws: Count = 19_683_000  # 1,000 a cell: cell masses, after the last epoch
    information_samples: Held = 4_096  # posterior draws for I(x; z)

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
    seed: Seed = 42
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    schedules: SchedulesConfig = SchedulesConfig()
    loss: LossConfig = LossConfig()
    prior_matching: PriorMatchingConfig | None = None  # None: no such term, as the sources have it
    balance: BalanceConfig = BalanceConfig()
    statenet: StateNetConfig = StateNetConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
