"""The name of an operation, from its index."""

import pytest
import torch

from ternary_lib.names import name_of
from ternary_lib.operations import NAMED, NUM_OPERATIONS


def test_every_name_is_found_again_and_nothing_else_has_one():
    found = {index: name for index in range(NUM_OPERATIONS) if (name := name_of(index))}
    assert found == {one.index: one.name for one in NAMED.values()} and len(found) == len(NAMED)


@pytest.mark.parametrize("index", [113, 113.0, torch.tensor(113), torch.tensor([113])])
def test_an_index_may_be_a_number_or_a_tensor_of_one(index):
    assert name_of(index) == "kleene_min"


@pytest.mark.parametrize("index", [-1, NUM_OPERATIONS, 0.5, float("nan"), "kleene_min", None, [0, 1], []])
def test_what_is_no_index_is_refused(index):
    with pytest.raises(ValueError, match="index"):
        name_of(index)
