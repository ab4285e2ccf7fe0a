"""What a run takes from the machine: device, threads, determinism; set by the environment, never part of a configuration."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ternary_lib.config import Config, ConfigError


def training_device() -> torch.device:
    """$TERNARY_DEVICE, or the CPU."""
    name = os.environ.get("TERNARY_DEVICE") or "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0][:120]
        raise ConfigError(f"TERNARY_DEVICE={name}: not a device of this machine ({reason})") from None
    return device


def final_threads() -> int:
    """$TERNARY_THREADS, or every core: how many threads share the draws after the last epoch."""
    text = os.environ.get("TERNARY_THREADS") or str(os.cpu_count() or 1)
    if not text.isdigit() or not 1 <= int(text) <= 1024:
        raise ConfigError(f"TERNARY_THREADS={text}: expected a whole number of at least 1")
    return int(text)


@contextmanager
def training_settings(config: Config) -> Iterator[None]:
    """One thread for training (batches of 64 are too small to share), deterministic algorithms if asked; put back after."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    if config.training.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
