"""One training step as a function of tensors, for one seed or several stacked; the same code runs plain, compiled and as a CUDA graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.func import functional_call, grad_and_value, vmap

from ternary_lib.config import BalanceConfig, Config
from ternary_lib.control import Controls
from ternary_lib.coverage import decode_indices
from ternary_lib.losses import LossBreakdown, prior_mismatch, total_loss
from ternary_lib.model import TernaryVAE
from ternary_lib.operations import NUM_OPERATIONS

STEP_COLUMNS = (*LossBreakdown._fields, "grad_norm_a", "grad_norm_b", "scaled_loss_a", "scaled_loss_b")
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # AdamW's defaults


class Batch(NamedTuple):
    """What a step reads: operations, their classes, the noise ε of both pathways, and draws z ~ N(0, I) to be matched (or none)."""

    x: Float[Tensor, "seeds batch 9"]
    classes: Int[Tensor, "seeds batch 9"]
    noise: Float[Tensor, "seeds 2 batch latent"]
    prior: Float[Tensor, "seeds draws latent"]


class Dials(NamedTuple):
    """What an epoch's steps are taken with; tensors, so that another value is no other program."""

    tau_a: Float[Tensor, "seeds"]
    tau_b: Float[Tensor, "seeds"]
    rho: Float[Tensor, "seeds"]
    beta_a: Float[Tensor, "seeds"]
    beta_b: Float[Tensor, "seeds"]
    rate: Float[Tensor, "seeds"]
    momentum: Float[Tensor, "seeds"]
    lambdas: Float[Tensor, "seeds 3"]

    @classmethod
    def of(cls, controls: Sequence[Controls], device: torch.device | str = "cpu") -> Dials:
        """The dials of an epoch, from each seed's controls."""
        names = ("tau_a", "tau_b", "rho", "beta_a", "beta_b", "learning_rate_applied", "ema_momentum")
        columns = [torch.tensor([getattr(c, name) for c in controls], device=device) for name in names]
        lambdas = torch.tensor([[c.lambda_1, c.lambda_2, c.lambda_3] for c in controls], device=device)
        return cls(*columns, lambdas)


class State(NamedTuple):
    """What a step changes, in place: weights and AdamW's moments as flat vectors, β₁^t and β₂^t, gradient norms."""

    theta: Float[Tensor, "seeds parameters"]
    exp_avg: Float[Tensor, "seeds parameters"]
    exp_avg_sq: Float[Tensor, "seeds parameters"]
    # double: 1 - 0.999^t loses four digits in single; powers, for a compiled step would take them anew at each weight
    powers: Float[Tensor, "seeds 2"]
    norms: Float[Tensor, "seeds 2"]  # EMA‖∇_A‖, EMA‖∇_B‖; not read before the first step unless the config sets them
    memory: Float[Tensor, "seeds 2 cells"]  # p̄ of prior matching, uniform at first; no cells without it


class Step:
    """forward → loss → gradients → balance → clip → AdamW, for all seeds of a stack at once.

    The parameters of both pathways lie in one vector a seed: norms, clipping and the optimiser are one operation each.
    Several seeds run through ``torch.func.vmap`` as batched matrix products.
    """

    def __init__(self, config: Config, device: torch.device | str = "cpu") -> None:
        self.config = config
        self.skeleton = TernaryVAE(config.model).to(device)  # its shapes and its code; its own weights are never read
        named = [(name, p) for name, p in self.skeleton.named_parameters() if name.startswith("pathway_")]
        self.layout = [(name, p.shape, p.numel()) for name, p in named]
        self.cut = sum(size for name, _, size in self.layout if name.startswith("pathway_a"))  # where pathway B begins

    def initial_state(self, models: Sequence[TernaryVAE]) -> State:
        """The state before the first step, from each seed's freshly initialised model."""
        theta = torch.stack([self.flatten(dict(model.named_parameters())) for model in models])
        norms = torch.full((len(models), 2), self.config.balance.initial_norm or 0.0, device=theta.device, dtype=theta.dtype)
        powers = torch.ones(len(models), 2, dtype=torch.float64, device=theta.device)
        cells = NUM_OPERATIONS if self.config.prior_matching else 0
        memory = torch.full((len(models), 2, cells), 1 / NUM_OPERATIONS, device=theta.device, dtype=theta.dtype)
        return State(theta, torch.zeros_like(theta), torch.zeros_like(theta), powers, norms, memory)

    def flatten(self, parameters: Mapping[str, Tensor]) -> Float[Tensor, "parameters"]:
        """Both pathways' parameters of one seed as one vector."""
        return torch.cat([parameters[name].detach().reshape(-1) for name, _, _ in self.layout])

    def unflatten(self, theta: Float[Tensor, "seeds parameters"]) -> dict[str, Tensor]:
        """Views of the flat vectors by parameter name, each [seeds, *shape]."""
        views, offset = {}, 0
        for name, shape, size in self.layout:
            views[name] = theta[:, offset : offset + size].unflatten(1, shape)  # [seeds, size] -> [seeds, *shape]
            offset += size
        return views

    def __call__(self, state: State, batch: Batch, dials: Dials) -> Float[Tensor, "seeds columns"]:
        """One update of ``state``; returns every loss term and gradient norm of each seed (``STEP_COLUMNS``)."""
        balance = self.config.balance
        scales = self.scales(state)
        gradient, losses, decoded = self._gradient(state, batch, dials)
        with torch.no_grad():
            parts = gradient.tensor_split([self.cut], dim=1)
            norms = torch.stack([torch.linalg.vector_norm(part, dim=1) for part in parts], dim=1)  # [seeds, 2]
            factor = clip_factor(norms, self.config.training.grad_clip)
            seen = norms * factor if balance.norm_after_clip else norms
            state.norms.copy_(average_norms(state, seen, dials.momentum, balance))
            if decoded.shape[-1]:
                remember(state.memory, decoded, self.config.prior_matching.memory)
            adamw(state, gradient * factor, dials.rate[:, None], self.config.training.weight_decay)
            scaled = [scales[:, 0] * losses.loss_a, scales[:, 1] * losses.loss_b]
            return torch.stack([*losses, *norms.unbind(1), *scaled], dim=1)

    @torch.no_grad()
    def scales(self, state: State) -> Float[Tensor, "seeds 2"]:
        """g_A and g_B of each seed; 1 before the first measurement."""
        scales = gradient_scales(state.norms, self.config.balance)
        if self.config.balance.initial_norm is not None:
            return scales
        return torch.where(started(state), scales, 1.0)

    def losses(
        self, parameters: dict[str, Tensor], state: State, batch: Batch, dials: Dials
    ) -> tuple[LossBreakdown, Int[Tensor, "seeds 2 draws"]]:
        """Every loss term, each [seeds], of the parameters [seeds, …]; and the operations that each pathway makes of prior draws."""
        if len(state.theta) > 1:
            return vmap(self._losses)(parameters, batch, dials, self.scales(state), state.memory)
        alone = ({name: p[0] for name, p in parameters.items()}, *(_first(part) for part in (batch, dials)))
        losses, decoded = self._losses(*alone, self.scales(state)[0], state.memory[0])
        return LossBreakdown(*(value[None] for value in losses)), decoded[None]  # no vmap where nothing is stacked

    def _losses(
        self, parameters: dict[str, Tensor], batch: Batch, dials: Dials, scales: Tensor, memory: Tensor
    ) -> tuple[LossBreakdown, Tensor]:
        taus, betas = (dials.tau_a, dials.tau_b), (dials.beta_a, dials.beta_b)
        output = functional_call(self.skeleton, parameters, (batch.x, *taus, dials.rho), {"noise": batch.noise})
        mismatches, decoded = None, batch.classes.new_empty(2, 0)
        if len(batch.prior):
            drawn = [self._decode(name, parameters, batch.prior) for name in ("pathway_a", "pathway_b")]
            mismatches = [prior_mismatch(*pair, self.config.prior_matching) for pair in zip(drawn, memory, strict=True)]
            decoded = torch.stack([decode_indices(logits, ("argmax",))["argmax"] for logits in drawn])
        return total_loss(output, batch.classes, betas, dials.lambdas, scales, self.config.loss, mismatches), decoded

    def _decode(self, pathway: str, parameters: dict[str, Tensor], z: Tensor) -> Float[Tensor, "draws 9 3"]:
        prefix = f"{pathway}.decoder."
        own = {name.removeprefix(prefix): p for name, p in parameters.items() if name.startswith(prefix)}
        return functional_call(self.skeleton.get_submodule(f"{pathway}.decoder"), own, (z,))

    def _gradient(self, state: State, batch: Batch, dials: Dials) -> tuple[Tensor, LossBreakdown, Tensor]:
        def objective(parameters: dict[str, Tensor]) -> tuple[Tensor, tuple[LossBreakdown, Tensor]]:
            losses, decoded = self.losses(parameters, state, batch, dials)
            return losses.total.sum(), (losses, decoded)  # a sum over seeds that share nothing: each gets its own gradient

        parameters = self.unflatten(state.theta)
        if torch.compiler.is_compiling():  # the tracer follows torch.func; run plainly, autograd is twice as fast
            gradients, (_, (losses, decoded)) = grad_and_value(objective, has_aux=True)(parameters)
            return torch.cat([gradient.flatten(1) for gradient in gradients.values()], dim=1), losses, decoded
        leaves = {name: p.detach().requires_grad_() for name, p in parameters.items()}
        total, (losses, decoded) = objective(leaves)
        gradients = torch.autograd.grad(total, list(leaves.values()))
        losses = LossBreakdown(*(value.detach() for value in losses))
        return torch.cat([g.flatten(1) for g in gradients], dim=1), losses, decoded


def gradient_scales(norms: Float[Tensor, "... 2"], config: BalanceConfig) -> Float[Tensor, "... 2"]:
    """g_A = clip(EMA‖∇_B‖ / EMA‖∇_A‖, 0.5, 2) and g_B its inverse: the pathway with the smaller gradient is scaled up.

    Source: *Mathematical Foundations*, "Gradient Balance Scaling".

    >>> gradient_scales(torch.tensor([2.0, 3.0]), BalanceConfig())
    tensor([1.5000, 0.6667])
    """
    return (norms.flip(-1) / (norms + 1e-8)).clamp(*config.scale_bounds)


def average_norms(
    state: State, measured: Float[Tensor, "seeds 2"], momentum: Float[Tensor, "seeds"], config: BalanceConfig
) -> Float[Tensor, "seeds 2"]:
    """EMA ← momentum·EMA + (1 - momentum)·measured; the first measurement starts it unless the config sets its start."""
    average = torch.lerp(measured, state.norms, momentum[:, None])
    return average if config.initial_norm is not None else torch.where(started(state), average, measured)


def gradient_ratio(norms: Float[Tensor, "2"]) -> float:
    """grad_ratio = EMA‖∇_B‖ / EMA‖∇_A‖, which the gate reads once an epoch."""
    return float(norms[1] / (norms[0] + 1e-8))


def clip_factor(norms: Float[Tensor, "seeds parts"], limit: float) -> Float[Tensor, "seeds 1"]:
    """What a gradient is multiplied by so that its norm, given by its parts' norms, is at most ``limit``."""
    return (limit / (torch.linalg.vector_norm(norms, dim=1, keepdim=True) + 1e-6)).clamp(max=1)


def remember(memory: Float[Tensor, "seeds 2 cells"], decoded: Int[Tensor, "seeds 2 draws"], momentum: float) -> None:
    """p̄ ← momentum·p̄ + (1 - momentum)·(each operation's share of this step's draws), in place."""
    share = torch.full_like(decoded, (1 - momentum) / decoded.shape[-1], dtype=memory.dtype)
    memory.mul_(momentum).scatter_add_(-1, decoded, share)


def adamw(state: State, gradient: Float[Tensor, "seeds parameters"], rate: Float[Tensor, "seeds 1"], decay: float) -> None:
    """One AdamW update in place (Loshchilov & Hutter 2019), equal to ``torch.optim.AdamW``'s, a learning rate a seed."""
    for power, beta in zip(state.powers.unbind(1), (BETA1, BETA2), strict=True):
        power.mul_(beta)
    state.exp_avg.lerp_(gradient, 1 - BETA1)
    state.exp_avg_sq.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
    correction1, correction2 = bias_corrections(state)
    root = (state.exp_avg_sq / correction2).sqrt_().add_(EPSILON)
    state.theta.mul_(1 - rate * decay).sub_(rate / correction1 * state.exp_avg / root)


def bias_corrections(state: State) -> tuple[Float[Tensor, "seeds 1"], Float[Tensor, "seeds 1"]]:
    """1 - β₁^t and 1 - β₂^t after t steps, which make AdamW's moments unbiased."""
    first, second = (1 - state.powers).to(state.theta.dtype).split(1, dim=1)
    return first, second


def started(state: State) -> Bool[Tensor, "seeds 1"]:
    """Whether a step was made, so that the gradient norms have been measured."""
    return state.powers[:, :1] < 1


def _first(values: NamedTuple) -> NamedTuple:
    return type(values)(*(value[0] for value in values))
