"""Collapsed pathways and vanished gradients are found in a history, named, and nothing else is."""

import pytest

from ternary_lib import health

HEALTHY = {"epoch": [0, 1, 2, 3], "a.rate": [9.0, 8.0, 7.0, 6.0], "b.rate": [5.0, 5.0, 5.0, 5.0],
           "train.grad_norm_a": [1.0, 1.0, 1.0, 1.0], "train.grad_norm_b": [2.0, 2.0, 2.0, 2.0]}  # fmt: skip


def test_nothing_is_said_of_a_healthy_run():
    assert health.warnings(HEALTHY) == []


@pytest.mark.parametrize(
    ("column", "values", "line"),
    [
        ("b.rate", [5.0, 5.0, 5.0, 0.05], "pathway B collapsed: its rate is 0.05 nats in epoch 3 (below 0.1 in epoch 3)"),
        ("a.rate", [0.01, 5.0, 0.03, 0.02], "pathway A collapsed: its rate is 0.02 nats in epoch 3 (below 0.1 in epochs 2 to 3)"),
        ("a.rate", [5.0, 0.09, 5.0, 5.0], "pathway A collapsed: its rate is 0.09 nats in epoch 1 (below 0.1 in epoch 1)"),
        ("a.rate", [0.09, 0.02, 0.05, 0.03], "pathway A collapsed: its rate is 0.03 nats in epoch 3 (below 0.1 in epochs 0 to 3)"),
        ("train.grad_norm_b", [0.0, 1.0, 1.0, 1.0], "pathway B gets no gradient: its mean norm is 0 in epoch 0 (below 1e-06 in epoch 0)"),
        ("train.grad_norm_a", [1.0, 0.0, 1.0, 1.0], "pathway A gets no gradient: its mean norm is 0 in epoch 1 (below 1e-06 in epoch 1)"),
    ],
)
def test_a_fault_is_named_with_its_pathway_and_epochs(column, values, line):
    assert health.warnings(HEALTHY | {column: values}) == [line]


def test_a_pathway_that_has_yet_to_learn_has_not_collapsed():
    assert health.warnings(HEALTHY | {"a.rate": [0.01, 0.09, 0.1, 5.0]}) == []


def test_the_bound_itself_is_healthy():
    assert health.warnings(HEALTHY | {"a.rate": [health.COLLAPSED_RATE] * 4}) == []


def test_many_spans_are_cut_short_and_epochs_between_measurements_do_not_part_them():
    epochs = list(range(9, 120, 10))
    rates = [5.0, 0.0] * 6
    found = health.warnings({"epoch": epochs, "a.rate": rates})
    assert found == ["pathway A collapsed: its rate is 0 nats in epoch 119 (below 0.1 in epochs 19, 39, 59 and 3 spans more)"]
    found = health.warnings({"epoch": epochs, "a.rate": [0.0] * 12})
    assert found[0].endswith("(below 0.1 in epochs 9 to 119)")
