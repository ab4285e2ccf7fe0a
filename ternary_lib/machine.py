"""What a run takes from the machine: device, threads, determinism; set by the environment, never part of a configuration."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ternary_lib import settings
from ternary_lib.config import Config, ConfigError

SHARED_FROM = 5  # seeds of a stack from which threads gain more than they wait for each other


def training_device() -> torch.device:
    """$TERNARY_DEVICE, or the CPU."""
    name = settings.device()
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0][:120]
        raise ConfigError(f"TERNARY_DEVICE={name}: expected a device of this machine ({reason})") from None
    return device


def evaluation_threads() -> int:
    """$TERNARY_THREADS, or every core: how many threads share the decoding of prior draws, and a stack's training."""
    return settings.threads()


@contextmanager
def training_settings(config: Config, seeds: int = 1) -> Iterator[None]:
    """Threads and deterministic algorithms of training; put back after.

    One thread for a few seeds: their products are too small to share, and another core evaluates meanwhile. All for many.
    """
    deterministic = torch.are_deterministic_algorithms_enabled()
    if config.training.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    try:
        with threads(evaluation_threads() if seeds >= SHARED_FROM else 1):
            yield
    finally:
        torch.use_deterministic_algorithms(deterministic)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """That many threads within one torch operation; put back after."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def subnormals_flushed() -> Iterator[None]:
    """On this thread, subnormal numbers (below 1.2e-38) count as zero; put back after.

    A processor takes many times as long over them, and Adam's averages are full of them where a gradient has vanished: a step then
    takes twice as long. Too small to move a weight by its last bit, they are kept by nothing but those averages.
    """
    before = not float(torch.full((), 1e-39) * 1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
