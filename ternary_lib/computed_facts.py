"""What the claims ledger computes on an untrained network (seed 42), on the library's functions alone, or on released networks.

``FACTS`` holds these and those of ``facts``. The released networks (``OF_RELEASED``) are each of one run: no rule may read them. What
rests on one network's first weights or on one draw (``OF_SEED_42``) answers whether something is zero, or more or less, and not how much.
"""

from __future__ import annotations

import math
from typing import Any

from ternary_lib.config import load_config
from ternary_lib.coverage import sample_coverage, tertile_decoder
from ternary_lib.facts import FACTS, PRODUCTION, config_of, fact
from ternary_lib.operations import POSITIONS, all_operations

__all__ = ["FACTS", "OF_RELEASED", "OF_SEED_42"]
OF_RELEASED = {"drawn_elsewhere"}
OF_SEED_42 = {
    "attached_scale_gradient", "code_correlation", "cross_entropy_error", "gradient_norm", "histogram_gradient", "ideal_coverage",
    "kl_error", "mixture_distance", "penalised_norm", "repeat_difference", "spread",
}  # fmt: skip


def _model() -> Any:
    from ternary_lib.model import TernaryVAE
    from ternary_lib.randomness import stream

    return TernaryVAE(config_of(PRODUCTION).model, stream(42, "weights"))


@fact
def parameters(part: str) -> float:
    """Parameters of ``pathway_a``, ``pathway_b``, ``statenet`` or ``all``."""
    model = _model()
    module = model if part == "all" else getattr(model, part)
    return float(sum(p.numel() for p in module.parameters()))


@fact
def training_megabytes() -> float:
    """Megabytes of all weights in single precision, their gradients and AdamW's two averages."""
    return 4 * 4 * parameters("all") / 1e6


def _losses(rho: float) -> tuple[Any, Any, Any]:
    import torch

    from ternary_lib.losses import total_loss
    from ternary_lib.randomness import stream

    model, x = _model(), all_operations()[::307]  # 65 operations spread over the space
    output = model(x, 1.0, 1.0, rho, stream(42, "claims"))
    return model, output, total_loss(output, x + 1, (0.6, 0.42), torch.tensor([0.7, 0.7, 0.3]))


def _norm(value: Any, parameters_: Any, **options: Any) -> Any:
    import torch

    found = torch.autograd.grad(value, list(parameters_), retain_graph=True, allow_unused=True, **options)
    return torch.stack([g.square().sum() for g in found if g is not None] or [torch.zeros(())]).sum().sqrt()


@fact
def gradient_norm(loss: str, pathway: str, rho: float) -> float:
    """‖∂loss/∂θ‖ by the weights of one pathway, τ = 1; ``loss`` is a field of LossBreakdown."""
    model, _, terms = _losses(rho)
    return float(_norm(getattr(terms, loss), getattr(model, f"pathway_{pathway}").parameters()))


@fact
def attached_scale_gradient(rho: float) -> float:
    """‖∂(g_A·L_A)/∂θ_B‖ with g_A = ‖∂L_B/∂θ_B‖ / ‖∂L_A/∂θ_A‖ left in the graph, as the formula stands."""
    model, _, terms = _losses(rho)
    norm_a = _norm(terms.loss_a, model.pathway_a.parameters(), create_graph=True)
    norm_b = _norm(terms.loss_b, model.pathway_b.parameters(), create_graph=True)
    return float(_norm(norm_b / norm_a * terms.loss_a, model.pathway_b.parameters()))


@fact
def mixture_distance(rho: float, to: str, pathway: str = "a") -> float:
    """Largest |z̃ - target| of a pathway at a ρ; target its ``own`` code, the ``other`` one or their ``average``."""
    _, output, _ = _losses(rho)
    a, b = (code.detach() for code in (output.a.z, output.b.z))
    own, other = (a, b) if pathway == "a" else (b, a)
    target = {"own": own, "other": other, "average": (a + b) / 2}[to]
    return float((getattr(output, pathway).z_tilde.detach() - target).abs().max())


@fact
def code_correlation() -> float:
    """Largest |correlation|, over all operations, of a dimension of μ_A with one of μ_B: untrained, nothing injected.

    Their noises are independent, so cov(z_A, z_B) = cov(μ_A, μ_B); where that is not 0, I(z_A; z_B) > 0.
    """
    import torch

    with torch.no_grad():
        output = _model()(all_operations(), 0.0, 0.0, 0.0)
    latent = output.a.mu.shape[1]
    together = torch.corrcoef(torch.cat([output.a.mu, output.b.mu], 1).double().T)
    return float(together[:latent, latent:].abs().max())


@fact
def histogram_gradient(form: str) -> float:
    """Largest |∂L_align/∂z| with a ``hard`` or a ``soft`` histogram; 0 where no gradient passes."""
    import torch

    from ternary_lib.losses import entropy_alignment, latent_entropy
    from ternary_lib.randomness import stream

    z = torch.randn(2, 64, 16, generator=stream(42, "claims"))
    a, b = z[0].requires_grad_(), 0.5 * z[1]
    value = entropy_alignment(latent_entropy(a, form=form), latent_entropy(b, form=form))
    return float(torch.autograd.grad(value, a)[0].abs().max()) if value.requires_grad else 0.0


@fact
def histogram_offset(bins: int, width: float) -> float:
    """Entropy of the counts in equal bins less the differential entropy, for a density that is even within a bin: ln(bins/width)."""
    return math.log(bins / width)


@fact
def mode_entropy(modes: int) -> float:
    """H_output, nats, of decoders that only ever make so many tables (all -1, all 0, all +1), each equally often."""
    import torch

    from ternary_lib.losses import output_entropy

    choice = torch.arange(6 * modes) % modes  # which table each draw is
    logits = 50.0 * torch.nn.functional.one_hot(choice, 3).float()[:, None, :].expand(-1, POSITIONS, 3)
    return float(output_entropy(logits))


@fact
def repulsion_slope() -> float:
    """Change of L_rep when two codes half a unit apart move apart by a thousandth."""
    import torch

    from ternary_lib.losses import repulsion

    near, far = (torch.tensor([[0.0], [0.5 + step]], dtype=torch.float64) for step in (0.0, 1e-3))
    return float(repulsion(far) - repulsion(near))


@fact
def repulsion_kernel(latent_dim: int, sigma: float) -> float:
    """exp(-d²/(2σ²)) at d² = 2·latent_dim, the mean squared distance of two draws from the prior."""
    return math.exp(-latent_dim / sigma**2)


@fact
def kl_error() -> float:
    """Largest relative difference of the closed form to torch.distributions' KL over some random posteriors."""
    import torch
    from torch.distributions import Normal, kl_divergence

    from ternary_lib import losses
    from ternary_lib.randomness import stream

    mu, logvar = torch.randn(2, 64, 16, generator=stream(42, "claims"), dtype=torch.float64)
    theirs = kl_divergence(Normal(mu, (0.5 * logvar).exp()), Normal(0.0, 1.0)).sum(1).mean()
    return float((losses.kl_divergence(mu, logvar) / theirs - 1).abs())


@fact
def cross_entropy_error() -> float:
    """Relative difference of -1/N Σ_i Σ_j Σ_k 1[x_ij = k] log p_ijk, written out, to the loss, over some random logits."""
    import torch

    from ternary_lib.losses import cross_entropy
    from ternary_lib.randomness import stream

    x = all_operations()[::307]
    logits = torch.randn(len(x), POSITIONS, 3, generator=stream(42, "claims"), dtype=torch.float64)
    p = logits.exp() / logits.exp().sum(-1, keepdim=True)
    sums = [p[:, :, k].log()[x == value].sum() for k, value in enumerate((-1, 0, 1))]
    return float((cross_entropy(logits, x + 1) / (-sum(sums) / len(x)) - 1).abs())


@fact
def kl_of_the_prior() -> float:
    """KL of a posterior that equals the prior for every x: nothing is charged, and the code tells nothing."""
    import torch

    from ternary_lib.losses import kl_divergence

    return float(kl_divergence(torch.zeros(8, 16), torch.zeros(8, 16)))


@fact
def collapsed_neg_elbo() -> float:
    """-ELBO of a decoder that ignores z and answers uniformly, its posterior being the prior, nats."""
    import torch

    from ternary_lib.coverage import uniform_decoder
    from ternary_lib.losses import cross_entropy

    return float(cross_entropy(uniform_decoder(torch.zeros(8, 16)), all_operations()[:8] + 1)) + kl_of_the_prior()


@fact
def reparameterised_slope() -> float:
    """∂z/∂σ at ε = 2 and τ = 1: the draw's own ε."""
    import torch

    from ternary_lib.model import sample_latent

    sigma = torch.tensor([0.7], dtype=torch.float64, requires_grad=True)
    z = sample_latent(torch.zeros(1, dtype=torch.float64), 2 * sigma.log(), 1.0, epsilon=torch.tensor([2.0], dtype=torch.float64))
    return float(torch.autograd.grad(z.sum(), sigma)[0])


@fact
def spread(tau: float) -> float:
    """Largest |z - μ| of sixteen draws at a τ, σ = 1."""
    import torch

    from ternary_lib.model import sample_latent
    from ternary_lib.randomness import stream

    mu = torch.linspace(-2, 2, 16)
    return float((sample_latent(mu, torch.zeros(16), tau, stream(42, "claims")) - mu).abs().max())


@fact
def drawn_elsewhere(tau: float) -> float:
    """Per cent of draws from a posterior, at a τ, that are decoded to another operation than its mean is; mean over released networks."""
    import torch

    from ternary_lib.randomness import stream
    from ternary_lib.weights import RELEASED, load_model

    found, x = [], all_operations()[::19]
    for name in (name for name, release in RELEASED.items() if release.checkpoint == "last"):
        model = load_model(name)
        for pathway in (model.pathway_a, model.pathway_b):
            with torch.inference_mode():
                mu, logvar = pathway.encoder(x)
                noise = torch.randn(64, *mu.shape, generator=stream(42, "claims"))
                z = (mu + tau * (0.5 * logvar).exp() * noise).flatten(0, 1)
                made, own = (torch.cat([pathway.decoder(part).argmax(-1) for part in codes.split(4096)]) for codes in (z, mu))
            found.append(float((made != own.repeat(64, 1)).any(-1).double().mean()))
    return 100 * sum(found) / len(found)


@fact
def ideal_coverage(draws: int, latent_dim: int) -> float:
    """argmax coverage, per cent, of the decoder that cuts nine latent dimensions at the normal tertiles."""
    from ternary_lib.randomness import stream

    return 100 * sample_coverage(tertile_decoder, draws, "argmax", stream(42, "claims"), latent_dim)


@fact
def penalised_norm(steps: int) -> float:
    """‖corrections‖ after some steps on ‖corrections‖² alone, over its value before them: StateNet at the starting state."""
    import torch

    from ternary_lib.statenet import penalty

    config, model = config_of(PRODUCTION), _model()
    state = torch.tensor([3.0, 3.0, 5.0, 5.0, 1.0, 0.1, 0.7, 0.7, 0.3])
    optimizer = torch.optim.AdamW(model.statenet.parameters(), lr=config.statenet.learning_rate)
    before = float(model.statenet(state).detach().norm())
    for _ in range(steps):
        optimizer.zero_grad()
        penalty(model.statenet(state), config.statenet).backward()
        optimizer.step()
    return float(model.statenet(state).detach().norm()) / before


@fact
def statenet_width(layer: str) -> float:
    """Numbers that StateNet reads (``input``), compresses to (``code``) and gives (``output``)."""
    encoder, decoder = _model().statenet.encoder, _model().statenet.decoder
    return float({"input": encoder[0].in_features, "code": encoder[-1].out_features, "output": decoder[2].out_features}[layer])


@fact
def named_coverage(of: str) -> float:
    """How many of StateNet's inputs (``state``) or of the loss's terms (``loss``) are a coverage, by their names."""
    from ternary_lib.losses import LossBreakdown
    from ternary_lib.statenet import STATE_NAMES

    return float(sum("coverage" in name for name in (STATE_NAMES if of == "state" else LossBreakdown._fields)))


@fact
def inputs_named(word: str) -> float:
    """How many of StateNet's inputs have a name that holds a word."""
    from ternary_lib.statenet import STATE_NAMES

    return float(sum(word in name for name in STATE_NAMES))


@fact
def repeat_difference() -> float:
    """Largest difference of a loss term or gradient norm between two trainings of one short epoch from one seed."""
    from ternary_lib.machine import training_settings
    from ternary_lib.training import Trainer

    config = load_config(PRODUCTION, {"data.train": 1024})  # 16 steps
    with training_settings(config):
        first, second = (Trainer([config], "plain").train_epoch(0)[1][0] for _ in range(2))
    return max(abs(first[name] - second[name]) for name in first)


@fact
def correction_gradient(output: int) -> float:
    """∂L_total/∂correction in the first corrected epoch, corrections 0, L_A = L_B = 5 and L_align = 1 nats; 0 is Δlr."""
    import torch

    from ternary_lib.statenet import corrected_lambdas

    config = config_of(PRODUCTION)
    corrections = torch.zeros(4, requires_grad=True)
    weights = corrected_lambdas(torch.tensor(config.balance.lambdas), corrections[1:], config.statenet, config.balance)
    (weights @ torch.tensor([5.0, 5.0, 1.0])).backward()
    return float(corrections.grad[output])


@fact
def balance_left(raw: float, steps: int = 200) -> float:
    """The ratio that g_A = ‖∇_B‖/‖∇_A‖ settles at, measured on the scaled losses, from a raw ratio: its cube root."""
    g = 1.0
    for _ in range(steps):  # what was measured moves g halfway, as a moving average does
        g = math.sqrt(g * raw / (g * g))
    return raw / (g * g)
