"""The dual-pathway variational autoencoder: two encoders, two decoders, stop-gradient cross-injection."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Num
from torch import Generator, Tensor, nn

from ternary_lib.config import ModelConfig
from ternary_lib.operations import POSITIONS
from ternary_lib.statenet import StateNet

VALUES = 3  # each position holds -1, 0 or +1


class PathwayOutput(NamedTuple):
    """What one pathway computed: q(z|x) by ``mu`` and ``logvar``, its draw ``z``, the mixture ``z_tilde``, ``logits``."""

    mu: Float[Tensor, "batch latent"]
    logvar: Float[Tensor, "batch latent"]
    z: Float[Tensor, "batch latent"]
    z_tilde: Float[Tensor, "batch latent"]
    logits: Float[Tensor, "batch 9 3"]


class DualOutput(NamedTuple):
    """Both pathways' outputs."""

    a: PathwayOutput
    b: PathwayOutput


class Encoder(nn.Module):
    """q(z|x): 9 → 256 → 128 → 64 (ReLU), then μ and log σ²; 45,792 parameters at the default widths."""

    def __init__(self, widths: tuple[int, ...], latent_dim: int, positions: int = POSITIONS) -> None:
        super().__init__()
        self.body = _relu_stack(positions, widths)
        self.mu = nn.Linear(widths[-1], latent_dim)
        self.logvar = nn.Linear(widths[-1], latent_dim)

    def forward(self, x: Num[Tensor, "batch 9"]) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """μ and log σ² of each operation; ``x`` in {-1, 0, 1}, float or int."""
        h = self.body(x.to(self.mu.weight.dtype))
        return self.mu(h), self.logvar(h)


class DecoderA(nn.Module):
    """p_A(x|z): 16 → 32 → 64 → 27 (ReLU), 27 = 9 positions × 3 values; 4,411 parameters."""

    def __init__(self, latent_dim: int, widths: tuple[int, ...], positions: int = POSITIONS) -> None:
        super().__init__()
        self.body = _relu_stack(latent_dim, widths)
        self.out = nn.Linear(widths[-1], positions * VALUES)

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch 9 3"]:
        """Logits of each position's three values, in the order -1, 0, +1."""
        return self.out(self.body(z)).unflatten(1, (-1, VALUES))  # [n, 27] -> [n, 9, 3]


class ResidualBlock(nn.Module):
    """block(h) = h + Linear(ReLU(Linear(h)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, width)

    def forward(self, h: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        """h plus the block's correction, same shape."""
        return h + self.outer(torch.relu(self.inner(h)))


class DecoderB(nn.Module):
    """p_B(x|z): 16 → 128 (ReLU), two residual blocks with a ReLU between, 128 → 27; 71,707 parameters."""

    def __init__(self, latent_dim: int, width: int, blocks: int, positions: int = POSITIONS) -> None:
        super().__init__()
        self.inp = nn.Linear(latent_dim, width)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(blocks))
        self.out = nn.Linear(width, positions * VALUES)

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch 9 3"]:
        """Logits of each position's three values, in the order -1, 0, +1."""
        h = torch.relu(self.inp(z))
        for i, block in enumerate(self.blocks):
            h = block(torch.relu(h) if i else h)
        return self.out(h).unflatten(1, (-1, VALUES))  # [n, 27] -> [n, 9, 3]


class Pathway(nn.Module):
    """One VAE: an encoder and a decoder."""

    def __init__(self, encoder: Encoder, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder


class TernaryVAE(nn.Module):
    """Ternary VAE v5.5: pathways A and B and StateNet, 168,770 parameters at the default widths.

    Sampling z = μ + τ·σ⊙ε; cross-injection z̃_A = (1-ρ)·z_A + ρ·sg(z_B) and z̃_B = (1-ρ)·z_B + ρ·sg(z_A).
    Source: *Mathematical Foundations*, sections "Dual-VAE Architecture" and "Stop-Gradient Cross-Injection".

    Args:
        config: layer widths.
        generator: source of the initial weights (PyTorch's default scheme); None takes the global one.
        positions: entries of a table; other than 9 only for spaces that are not the operations'.

    Example:
        >>> from ternary_lib.config import ModelConfig
        >>> sum(p.numel() for p in TernaryVAE(ModelConfig()).parameters())
        168770
    """

    def __init__(self, config: ModelConfig, generator: Generator | None = None, positions: int = POSITIONS) -> None:
        super().__init__()
        latent = config.latent_dim
        encoder_a, encoder_b = (Encoder(config.encoder_widths, latent, positions) for _ in range(2))
        self.pathway_a = Pathway(encoder_a, DecoderA(latent, config.decoder_a_widths, positions))
        self.pathway_b = Pathway(encoder_b, DecoderB(latent, config.decoder_b_width, config.decoder_b_blocks, positions))
        self.statenet = StateNet()
        self.stop_gradient = config.stop_gradient
        if generator is not None:
            initialise(self, generator)

    def forward(
        self,
        x: Num[Tensor, "batch 9"],
        tau_a: float | Tensor,
        tau_b: float | Tensor,
        rho: float | Tensor,
        generator: Generator | None = None,
        noise: Float[Tensor, "2 batch latent"] | None = None,
    ) -> DualOutput:
        """Encode, sample at temperatures τ, mix by ρ and decode.

        Args:
            x: operations in {-1, 0, 1}.
            tau_a: temperature of pathway A, ≥ 0; at 0 z = μ and no noise is drawn.
            tau_b: the same for pathway B.
            rho: permeability in [0, 1].
            generator: source of ε; None takes the global one.
            noise: ε itself, of A and of B, where it was drawn before.
        """
        noise_a, noise_b = (None, None) if noise is None else noise
        mu_a, logvar_a = self.pathway_a.encoder(x)
        mu_b, logvar_b = self.pathway_b.encoder(x)
        z_a = sample_latent(mu_a, logvar_a, tau_a, generator, noise_a)
        z_b = sample_latent(mu_b, logvar_b, tau_b, generator, noise_b)
        z_tilde_a = cross_inject(z_a, z_b, rho, self.stop_gradient)
        z_tilde_b = cross_inject(z_b, z_a, rho, self.stop_gradient)
        return DualOutput(
            PathwayOutput(mu_a, logvar_a, z_a, z_tilde_a, self.pathway_a.decoder(z_tilde_a)),
            PathwayOutput(mu_b, logvar_b, z_b, z_tilde_b, self.pathway_b.decoder(z_tilde_b)),
        )


def sample_latent(
    mu: Float[Tensor, "batch latent"],
    logvar: Float[Tensor, "batch latent"],
    tau: float | Tensor,
    generator: Generator | None = None,
    epsilon: Float[Tensor, "batch latent"] | None = None,
) -> Float[Tensor, "batch latent"]:
    """z = μ + τ·σ⊙ε with ε ~ N(0, I), drawn from ``generator`` unless given; τ = 0 returns μ."""
    if epsilon is None:
        if tau == 0:
            return mu
        epsilon = torch.randn(mu.shape, generator=generator, device=mu.device, dtype=mu.dtype)
    return mu + tau * torch.exp(0.5 * logvar) * epsilon


def cross_inject(
    own: Float[Tensor, "batch latent"], other: Float[Tensor, "batch latent"], rho: float | Tensor, stop_gradient: bool = True
) -> Float[Tensor, "batch latent"]:
    """z̃ = (1-ρ)·own + ρ·sg(other): the other pathway's code enters without carrying a gradient back (sg off: with it)."""
    return torch.lerp(own, other.detach() if stop_gradient else other, rho)


def initialise(module: nn.Module, generator: Generator) -> None:
    """Draw every Linear's weights anew from ``generator``, in PyTorch's default distribution."""
    for linear in module.modules():
        if isinstance(linear, nn.Linear):
            nn.init.kaiming_uniform_(linear.weight, a=math.sqrt(5), generator=generator)
            bound = 1 / math.sqrt(linear.in_features)
            nn.init.uniform_(linear.bias, -bound, bound, generator=generator)


def _relu_stack(inputs: int, widths: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers)
