"""The peer: one pathway of ours, trained as a β-VAE by pythae 0.1.2, for its times and, by our own metrics, its results.

Equal on both sides: the network (the library's very modules, with the library's initial weights for the seed), the 15,746
training operations, batches of 64, AdamW at 1e-3 with our weight decay, the number of threads. Different: pythae trains one
pathway, so it pays for no second one, no cross-injection, no StateNet, no gradient clipping and none of the other loss terms;
its rate and β stay constant. Its own bars and log lines are switched off, which can only make it faster.

    python -m benchmarks.peer --pathway b --epochs 4 --threads 1
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from tempfile import TemporaryDirectory
from unittest.mock import patch

import torch
from torch import nn

from ternary_lib.config import DataConfig, ModelConfig, TrainingConfig
from ternary_lib.data import split_indices
from ternary_lib.losses import cross_entropy
from ternary_lib.model import Pathway, TernaryVAE
from ternary_lib.operations import POSITIONS, all_operations
from ternary_lib.randomness import stream

PATHWAYS = ("a", "b")
BATCH_SIZE = 64
LEARNING_RATE = 1e-3
FIX = "pip install --constraint requirements.lock --editable '.[peers]'"


def train_beta_vae(pathway: str, beta: float, epochs: int, seed: int) -> Pathway:
    """The pathway's encoder and decoder after pythae's trainer: the last epoch's weights, none selected.

    The result is a plain :class:`Pathway` of the library, equal in weights at the start to that of ``TernaryVAE`` for ``seed``.
    pythae seeds Python's and NumPy's global generators; torch's is put back.

    Args:
        pathway: "a" or "b".
        beta: weight of the KL term, ≥ 0.
        epochs: passes over the training operations, ≥ 1.
        seed: of the initial weights, the order of the batches and the noise.

    Raises:
        ImportError: pythae is not installed.
    """
    return _train(pathway, beta, epochs, seed)[0]


def train_seconds(pathway: str, epochs: int, threads: int) -> dict[str, object]:
    """Seconds of one training epoch of pythae's trainer: the median of all epochs but the first.

    An epoch is all that the trainer does from ``on_epoch_begin`` to ``on_epoch_end``: batches, steps, and its copy of the best
    weights so far. Writing the final model comes after and is not counted.

    Args:
        pathway: "a" or "b".
        epochs: ≥ 2; the first one warms up.
        threads: of torch, ≥ 1; put back after.

    Raises:
        ImportError: pythae is not installed.
        ValueError: fewer than two epochs.
    """
    if epochs < 2:
        raise ValueError(f"epochs={epochs}: the first is not counted, so at least 2 are needed")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        trained, seconds = _train(pathway, beta=1.0, epochs=epochs, seed=42)
    finally:
        torch.set_num_threads(before)
    median = statistics.median(seconds[1:])
    samples = DataConfig().train
    return {
        "trainer": f"pythae {version('pythae')}",
        "torch": torch.__version__,
        "pathway": pathway,
        "parameters": sum(p.numel() for p in trained.parameters()),
        "samples": samples,
        "batch_size": BATCH_SIZE,
        "threads": threads,
        "epoch_seconds": seconds,
        "seconds_per_epoch": median,
        "samples_per_second": samples / median,
    }


def network(pathway: str, seed: int) -> Pathway:
    """The library's untrained encoder and decoder: 50,203 parameters for "a", 117,499 for "b"."""
    if pathway not in PATHWAYS:
        raise ValueError(f"pathway {pathway!r}: expected a or b")
    return getattr(TernaryVAE(ModelConfig(), stream(seed, "weights")), f"pathway_{pathway}")


def beta_vae(pathway: Pathway, beta: float) -> nn.Module:
    """pythae's ``BetaVAE`` around the pathway's own modules, with a categorical reconstruction loss.

    pythae knows squared error and binary cross-entropy only, so ``loss_function`` is overridden: the reconstruction term is the
    library's cross-entropy of the 27 logits, summed over positions; the KL term is pythae's, line for line.
    """
    from pythae.models import BetaVAE, BetaVAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class OurEncoder(BaseEncoder):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x):
            mu, logvar = self.inner(x)
            return ModelOutput(embedding=mu, log_covariance=logvar)

    class OurDecoder(BaseDecoder):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, z):
            return ModelOutput(reconstruction=self.inner(z))

    class CategoricalBetaVAE(BetaVAE):
        def loss_function(self, recon_x, x, mu, log_var, z):
            distortion = cross_entropy(recon_x, (x + 1).long())  # pythae hands every data set over as floats
            rate = (-0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp(), dim=-1)).mean(dim=0)
            return distortion + self.beta * rate, distortion, rate

    config = BetaVAEConfig(input_dim=(POSITIONS,), latent_dim=ModelConfig().latent_dim, beta=beta)
    return CategoricalBetaVAE(config, OurEncoder(pathway.encoder), OurDecoder(pathway.decoder))


def _train(pathway: str, beta: float, epochs: int, seed: int) -> tuple[Pathway, list[float]]:
    """Train in pythae's pipeline, as its users do: the pathway and the seconds of each epoch."""
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    class Clock(TrainingCallback):
        def __init__(self) -> None:
            self.seconds: list[float] = []

        def on_epoch_begin(self, training_config, **kwargs):
            self.started = time.perf_counter()

        def on_epoch_end(self, training_config, **kwargs):
            self.seconds.append(time.perf_counter() - self.started)

    operations = all_operations()[split_indices(DataConfig()).train].float()
    with TemporaryDirectory(prefix="pythae-") as folder, _quiet(), torch.random.fork_rng(devices=[]):
        trained, clock = network(pathway, seed), Clock()
        config = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=epochs,
            per_device_train_batch_size=BATCH_SIZE,
            optimizer_cls="AdamW",
            optimizer_params={"weight_decay": TrainingConfig().weight_decay},
            learning_rate=LEARNING_RATE,
            seed=seed,
            no_cuda=True,
        )
        TrainingPipeline(model=beta_vae(trained, beta), training_config=config)(train_data=operations, callbacks=[clock])
    return trained, clock.seconds


@contextmanager
def _quiet() -> Iterator[None]:
    """pythae without its progress bars, its log lines and the variables it leaves in the environment."""
    from pythae.trainers import training_callbacks

    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        with patch.object(training_callbacks, "tqdm", partial(training_callbacks.tqdm, disable=True)), patch.dict(os.environ):
            yield
    finally:
        logging.disable(before)


def main(arguments: list[str] | None = None) -> int:
    """Print the measurement as JSON; status 2 and one line where pythae is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peer", description="Time pythae's trainer on one pathway's networks.")
    parser.add_argument("--pathway", choices=PATHWAYS, default="b", help="whose encoder and decoder (default: b)")
    parser.add_argument("--epochs", type=int, default=4, help="at least 2, the first is not counted (default: 4)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: 1)")
    given = parser.parse_args(arguments)
    if given.epochs < 2 or given.threads < 1:
        parser.error("expected --epochs of at least 2 and --threads of at least 1")
    try:
        import pythae.pipelines  # noqa: F401
    except ImportError as error:
        print(f"error: pythae cannot be imported ({error}); to install it: {FIX}", file=sys.stderr)
        return 2
    print(json.dumps(train_seconds(given.pathway, given.epochs, given.threads), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
