"""Shared by several files: codes whose every property is known, and a network of the smallest widths."""

import pytest


@pytest.fixture(scope="module")
def codes():
    from lines import line_codes

    return line_codes()


@pytest.fixture(scope="module")
def model():
    from lines import generator
    from micro import micro_config

    from ternary_lib.model import TernaryVAE

    return TernaryVAE(micro_config().model, generator())
