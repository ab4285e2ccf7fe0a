"""The split of the 19,683 operations into training, validation and test sets."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from ternary_lib.config import DataConfig
from ternary_lib.operations import NUM_OPERATIONS


class Split(NamedTuple):
    """Operation indices of the three disjoint sets; together all 19,683."""

    train: Int[Tensor, "n_train"]
    validation: Int[Tensor, "n_validation"]
    test: Int[Tensor, "n_test"]


def split_indices(config: DataConfig) -> Split:
    """Shuffle all indices by ``split_seed`` and cut them into train, validation and the rest.

    >>> [len(part) for part in split_indices(DataConfig())]
    [15746, 1968, 1969]
    """
    order = torch.randperm(NUM_OPERATIONS, generator=torch.Generator().manual_seed(config.split_seed))
    rest = NUM_OPERATIONS - config.train - config.validation
    return Split(*order.split([config.train, config.validation, rest]))
