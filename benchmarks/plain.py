"""The yardstick: the epoch a good engineer would first write in plain eager PyTorch, kept as it is to measure the library against.

Nothing here is slow on purpose. A ``DataLoader`` feeds batches, ``nn.Module`` and ``torch.optim.AdamW`` do what they do by
default, the loss terms are the library's own plain functions, scalars are read with ``.item()`` for the log, validation runs
under ``no_grad``, and coverage decodes prior draws in batches of 4,096, mode by mode, and counts distinct operations.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, get_total_norm
from torch.utils.data import DataLoader, TensorDataset

from ternary_lib.config import Config
from ternary_lib.control import Controls
from ternary_lib.coverage import MODES
from ternary_lib.data import split_indices
from ternary_lib.losses import LossBreakdown, total_loss
from ternary_lib.model import TernaryVAE
from ternary_lib.operations import all_operations
from ternary_lib.statenet import penalty

POWERS = 3 ** torch.arange(8, -1, -1)


class PlainTrainer:
    """Weights, optimisers and moving averages of the plain loop."""

    def __init__(self, config: Config, model: TernaryVAE) -> None:
        self.config = config
        self.model = model
        paths = [*model.pathway_a.parameters(), *model.pathway_b.parameters()]
        decay = config.training.weight_decay
        self.optimizer = torch.optim.AdamW(paths, weight_decay=decay)
        self.statenet_optimizer = torch.optim.AdamW(model.statenet.parameters(), lr=config.statenet.learning_rate, weight_decay=decay)
        split = split_indices(config.data)
        self.train_data = TensorDataset(all_operations()[split.train])
        self.validation_data = TensorDataset(all_operations()[split.validation])
        self.norms: list[float] | None = None

    def epoch(self, controls: Controls) -> tuple[dict[str, float], dict[str, float]]:
        """One epoch of training and its validation: (means of the steps, means over the validation set)."""
        size = self.config.training.batch_size
        for group in self.optimizer.param_groups:
            group["lr"] = controls.learning_rate_applied
        rows = [self.step(x, controls) for (x,) in DataLoader(self.train_data, batch_size=size, shuffle=True)]
        state = torch.tensor([rows[-1]["latent_entropy_a"], rows[-1]["latent_entropy_b"], rows[-1]["kl_a"], rows[-1]["kl_b"],
                              controls.grad_ratio, controls.rho, controls.lambda_1, controls.lambda_2, controls.lambda_3])  # fmt: skip
        self.statenet_optimizer.zero_grad()
        penalty(self.model.statenet(state), self.config.statenet).backward()
        self.statenet_optimizer.step()
        with torch.no_grad():
            checks = [self.losses(x, controls, 0.0, 0.0, (1.0, 1.0)) for (x,) in DataLoader(self.validation_data, batch_size=size)]
        return _means(rows), _means([{k: v.item() for k, v in row._asdict().items()} for row in checks])

    def step(self, x: Tensor, controls: Controls) -> dict[str, float]:
        """One update of both pathways."""
        losses = self.losses(x, controls, controls.tau_a, controls.tau_b, self.scales())
        self.optimizer.zero_grad()
        losses.total.backward()
        paths = (self.model.pathway_a, self.model.pathway_b)
        norms = [get_total_norm([p.grad for p in path.parameters()]).item() for path in paths]
        momentum = controls.ema_momentum
        self.norms = norms if self.norms is None else [momentum * o + (1 - momentum) * n for o, n in zip(self.norms, norms, strict=True)]
        clip_grad_norm_([p for path in paths for p in path.parameters()], self.config.training.grad_clip)
        self.optimizer.step()
        return {name: value.item() for name, value in losses._asdict().items()}

    def losses(self, x: Tensor, controls: Controls, tau_a: float, tau_b: float, scales: tuple[float, float]) -> LossBreakdown:
        """Every loss term of one batch."""
        lambdas = torch.tensor([controls.lambda_1, controls.lambda_2, controls.lambda_3])
        output = self.model(x, tau_a, tau_b, controls.rho)
        return total_loss(output, x + 1, (controls.beta_a, controls.beta_b), lambdas, scales, self.config.loss)

    def scales(self) -> tuple[float, float]:
        """(g_A, g_B) from the moving averages."""
        if self.norms is None:
            return 1.0, 1.0
        low, high = self.config.balance.scale_bounds
        a, b = self.norms
        return min(max(b / (a + 1e-8), low), high), min(max(a / (b + 1e-8), low), high)


@torch.no_grad()
def coverage(decoder: nn.Module, draws: int, mode: str, count: Callable[[Tensor], int], latent: int = 16) -> int:
    """Distinct operations among prior draws under one decode mode."""
    found = []
    for start in range(0, draws, 4096):
        logits = decoder(torch.randn(min(4096, draws - start), latent))
        if mode == "argmax":
            values = logits.argmax(-1) - 1
        elif mode == "categorical":
            values = torch.distributions.Categorical(logits=logits).sample() - 1
        else:
            values = (logits.softmax(-1) @ torch.tensor([-1.0, 0.0, 1.0])).round().long()
        found.append(values)
    return count(torch.cat(found))


def count_indices(operations: Tensor) -> int:
    """Distinct rows by their base-3 index."""
    return len(((operations + 1) * POWERS).sum(-1).unique())


def count_set(operations: Tensor) -> int:
    """Distinct rows in a Python set of tuples, as the sources count them."""
    return len({tuple(row) for row in operations.tolist()})


def evaluate(model: TernaryVAE, draws: int, count: Callable[[Tensor], int] = count_indices) -> dict[str, int]:
    """Coverage of both pathways in every decode mode."""
    decoders = {"a": model.pathway_a.decoder, "b": model.pathway_b.decoder}
    return {f"{name}.{mode}": coverage(decoder, draws, mode, count) for name, decoder in decoders.items() for mode in MODES}


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
