"""Codes made by hand: nine lines, one an entry of the table, and nothing else."""

import math

import torch

from ternary_lib.coverage import TERTILE, tertile_decoder
from ternary_lib.latent import Codes
from ternary_lib.model import VALUES
from ternary_lib.operations import NUM_OPERATIONS, all_operations

SPACING = 2 * TERTILE  # cuts half-way between the values


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def line_codes(spacing=SPACING, variance=0.1, latent_dim=16):
    """Dimension d carries trit d exactly, the rest nothing; read by the tertile decoder."""
    mu = torch.zeros(NUM_OPERATIONS, latent_dim)
    mu[:, :9] = spacing * all_operations()
    logvar = torch.zeros(NUM_OPERATIONS, latent_dim)
    logvar[:, :9] = math.log(variance)
    return Codes(mu, logvar, tertile_decoder)


def one_hot_tables():
    """Every table as 27 numbers 0 or √½: squared distances between them are Hamming distances."""
    return torch.nn.functional.one_hot(all_operations() + 1, VALUES).flatten(1).double() * math.sqrt(0.5)


def mean_squared_distance(points):
    """Mean of ‖u - v‖² over all pairs: 2n/(n-1) times the total variance."""
    return 2 * float(points.double().var(0).sum())
