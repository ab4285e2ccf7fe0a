"""What the claims ledger reads from a run's record.

A quantity is a function ``(record, …) -> float``, called by name from ``results/claims.yaml``. None chooses an epoch by what it
reports: the epoch, or the span of epochs, is an argument or stands in the docstring.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from statistics import fmean
from typing import Any

from ternary_lib.comparison import METRICS
from ternary_lib.config import config_from_mapping
from ternary_lib.coverage import efficiency
from ternary_lib.data import split_indices
from ternary_lib.operations import NUM_OPERATIONS

Record = Mapping[str, Any]
OF_RECORD: dict[str, Callable[..., float]] = {}
GRID = 10  # variants are measured every tenth epoch; spans use these epochs in every record, so that pairs are like for like


def of_record(function: Callable[..., float]) -> Callable[..., float]:
    """Register a quantity that is read from one run's record."""
    OF_RECORD[function.__name__] = function
    return function


def budget(record: Record) -> int:
    """The largest number of draws that every epoch was measured with."""
    return record["config"]["evaluation"]["budgets"][-1]


def _counts(record: Record, pathway: str, mode: str) -> list[int]:
    return record["history"][f"{pathway}.coverage.{mode}.{budget(record)}"]


def _rows(record: Record, first: int, last: int) -> Iterator[int]:
    """Rows of the history whose epoch lies in first … last and on the grid."""
    for row, epoch in enumerate(record["history"]["epoch"]):
        if first <= epoch <= last and (epoch + 1) % GRID == 0:
            yield row


def _mean(found: list[float]) -> float:
    if not found:
        raise ValueError("no epoch of the record lies in the span")
    return fmean(found)


@of_record
def metric(record: Record, name: str, pathway: str) -> float:
    """A metric of ``ternary compare``, of the last epoch or of the last thirty, as its label says."""
    return METRICS[name].value(record, pathway)


@of_record
def gap(record: Record, name: str) -> float:
    """The metric of pathway B less that of pathway A, in one run."""
    return METRICS[name].value(record, "b") - METRICS[name].value(record, "a")


@of_record
def final(record: Record, name: str, pathway: str) -> float:
    """A column of the last epoch's measurements."""
    return float(record["final"][pathway][name])


@of_record
def coverage(record: Record, mode: str, pathway: str) -> float:
    """Coverage in per cent, last epoch, at the budget of every epoch."""
    return 100 * record["final"][pathway][f"coverage.{mode}.{budget(record)}"] / NUM_OPERATIONS


@of_record
def coverage_at(record: Record, mode: str, pathway: str, epoch: int) -> float:
    """Coverage in per cent at one epoch."""
    return 100 * at(record, f"{pathway}.coverage.{mode}.{budget(record)}", epoch) / NUM_OPERATIONS


@of_record
def coverage_at_best(record: Record, mode: str, pathway: str) -> float:
    """Coverage in per cent at the epoch of the lowest validation loss, which is no coverage; records of every epoch alone."""
    return coverage_at(record, mode, pathway, record["best_epoch"])


@of_record
def least_coverage(record: Record, mode: str, pathway: str, first: int, last: int) -> float:
    """The lowest coverage, in per cent, among the epochs first … last that were measured."""
    epochs = zip(record["history"]["epoch"], _counts(record, pathway, mode), strict=True)
    return 100 * min(count for epoch, count in epochs if first <= epoch <= last) / NUM_OPERATIONS


@of_record
def coverage_range(record: Record, mode: str, pathway: str, first: int, last: int) -> float:
    """Points between the highest and the lowest coverage of the epochs first … last that were measured."""
    epochs = zip(record["history"]["epoch"], _counts(record, pathway, mode), strict=True)
    found = [count for epoch, count in epochs if first <= epoch <= last]
    return 100 * (max(found) - min(found)) / NUM_OPERATIONS


@of_record
def untrained_coverage(record: Record, mode: str, pathway: str) -> float:
    """Coverage in per cent before the first step of training."""
    return 100 * record["untrained"][pathway][f"coverage.{mode}.{budget(record)}"] / NUM_OPERATIONS


@of_record
def complete_epochs(record: Record, mode: str, pathway: str) -> float:
    """Epochs that found every operation; ``pathway: both`` counts those in which each pathway did."""
    columns = [_counts(record, name, mode) for name in (("a", "b") if pathway == "both" else (pathway,))]
    return float(sum(min(counts) == NUM_OPERATIONS for counts in zip(*columns, strict=True)))


@of_record
def falls(record: Record, mode: str, pathway: str) -> float:
    """Epochs whose coverage is below that of the epoch before."""
    counts = _counts(record, pathway, mode)
    return float(sum(after < before for before, after in itertools.pairwise(counts)))


@of_record
def clear_falls(record: Record, mode: str, pathway: str) -> float:
    """Falls by more than four standard deviations of the two counts' sampling noise (binomial, an upper bound)."""
    missed = [NUM_OPERATIONS - count for count in _counts(record, pathway, mode)]
    return float(sum(after - before > 4 * math.sqrt(after + before + 1) for before, after in itertools.pairwise(missed)))


@of_record
def peak_epoch(record: Record, mode: str, pathway: str) -> float:
    """The epoch of the highest coverage, the first of several."""
    counts = _counts(record, pathway, mode)
    return float(record["history"]["epoch"][counts.index(max(counts))])


def mean_efficiency(record: Record, pathway: str, first: int, last: int) -> float:
    """Mean argmax efficiency over the span's tenth epochs."""
    counts, n = _counts(record, pathway, "argmax"), budget(record)
    return _mean([efficiency(counts[row] / NUM_OPERATIONS, n) for row in _rows(record, first, last)])


@of_record
def efficiency_change(record: Record, pathway: str, before: list[int], after: list[int]) -> float:
    """Mean argmax efficiency of the later span less that of the earlier one."""
    return mean_efficiency(record, pathway, *after) - mean_efficiency(record, pathway, *before)


@of_record
def best_validation_loss(record: Record) -> float:
    """The lowest validation loss of any epoch, nats: z = μ, g = 1, the epoch's λ, ρ and β."""
    return record["best_validation_loss"]


@of_record
def epochs_after_best(record: Record) -> float:
    """Epochs between that of the lowest validation loss and the last."""
    return float(record["history"]["epoch"][-1] - record["best_epoch"])


@of_record
def epochs_until_stopped(record: Record, column: str, patience: int) -> float:
    """Epochs after which a column has not been lower for ``patience`` epochs: where early stopping ends a run; all, where it never does."""
    lowest, best = math.inf, -1
    for row, value in enumerate(record["history"][column]):
        if value < lowest:
            lowest, best = value, row
        if row - best >= patience:
            return float(row + 1)
    return epochs_trained(record)


@of_record
def epochs_trained(record: Record) -> float:
    """Epochs of the finished run."""
    return float(record["history"]["epoch"][-1] + 1)


@of_record
def seconds_per_epoch(record: Record) -> float:
    """Seconds of the whole run, evaluation included, over its epochs, on the machine that the record names."""
    return record["seconds"]["total"] / epochs_trained(record)


@of_record
def at(record: Record, column: str, epoch: int) -> float:
    """A column of the history at one epoch."""
    return float(record["history"][column][record["history"]["epoch"].index(epoch)])


@of_record
def mean_of(record: Record, column: str, first: int, last: int) -> float:
    """Mean of a column over the span's tenth epochs."""
    return _mean([float(record["history"][column][row]) for row in _rows(record, first, last)])


@of_record
def least(record: Record, column: str, first: int = 0) -> float:
    """The lowest value of a column over the measured epochs from ``first`` on."""
    history = record["history"]
    return float(min(value for epoch, value in zip(history["epoch"], history[column], strict=True) if epoch >= first))


@of_record
def most(record: Record, column: str) -> float:
    """The highest value of a column over all epochs that were measured."""
    return float(max(record["history"][column]))


@of_record
def largest_step(record: Record, column: str, last: int | None = None) -> float:
    """The largest change of a column an epoch, between neighbouring measured epochs up to ``last``, either way."""
    history = record["history"]
    points = [(t, x) for t, x in zip(history["epoch"], history[column], strict=True) if last is None or t <= last]
    return max(abs(after - before) / (t - s) for (s, before), (t, after) in itertools.pairwise(points))


@of_record
def first_at_least(record: Record, column: str, value: float) -> float:
    """The first measured epoch whose column reaches a value, to a millionth; one past the end where none does."""
    history = record["history"]
    found = (epoch for epoch, here in zip(history["epoch"], history[column], strict=True) if here >= value - 1e-6)
    return float(next(found, history["epoch"][-1] + 1))


@of_record
def column_gap(record: Record, upper: str, lower: str, first: int, last: int) -> float:
    """Mean of one column less that of another over the span's tenth epochs."""
    return mean_of(record, upper, first, last) - mean_of(record, lower, first, last)


@of_record
def change_of(record: Record, column: str, before: list[int], after: list[int]) -> float:
    """Mean of a column over the later span's tenth epochs less that over the earlier one's."""
    return mean_of(record, column, *after) - mean_of(record, column, *before)


@of_record
def coverage_change(record: Record, mode: str, pathway: str, before: list[int], after: list[int]) -> float:
    """Points by which the mean coverage of the later span's tenth epochs exceeds that of the earlier one's."""
    return 100 * change_of(record, f"{pathway}.coverage.{mode}.{budget(record)}", before, after) / NUM_OPERATIONS


@of_record
def in_balance(record: Record, first: int, last: int) -> float:
    """Per cent of the measured epochs first … last that began with grad_ratio inside the gate."""
    history = record["history"]
    found = [bool(is_open) for epoch, is_open in zip(history["epoch"], history["gate_open"], strict=True) if first <= epoch <= last]
    return 100 * _mean(found)


@of_record
def closed_epochs(record: Record) -> float:
    """Epochs of phase 3 that began with the gate closed."""
    history = record["history"]
    return float(sum(phase == 3 and not is_open for phase, is_open in zip(history["phase"], history["gate_open"], strict=True)))


@of_record
def imbalance(record: Record) -> float:
    """Mean of |ln grad_ratio| over the tenth epochs: 0 is balance, 0.69 a factor of two either way."""
    rows = _rows(record, 0, record["history"]["epoch"][-1])
    return _mean([abs(math.log(record["history"]["grad_ratio"][row])) for row in rows])


@of_record
def balanced_within(record: Record, factor: float) -> float:
    """Per cent of the tenth epochs whose grad_ratio is within a factor of 1, either way."""
    rows = _rows(record, 0, record["history"]["epoch"][-1])
    return 100 * _mean([abs(math.log(record["history"]["grad_ratio"][row])) <= math.log(factor) for row in rows])


@of_record
def exact_unseen(record: Record, pathway: str) -> float:
    """Per cent of the operations never trained on (validation and test sets together) rebuilt exactly, alone, last epoch."""
    data, last = record["config"]["data"], record["final"][pathway]
    test = NUM_OPERATIONS - data["train"] - data["validation"]
    right = data["validation"] * last["exact_validation"] + test * last["exact_test"]
    return 100 * right / (data["validation"] + test)


@of_record
def unseen_gap(record: Record, pathway: str) -> float:
    """Points by which exact reconstruction of trained operations exceeds that of operations never trained on."""
    return 100 * record["final"][pathway]["exact_train"] - exact_unseen(record, pathway)


@of_record
def missed_by(record: Record, pathway: str) -> float:
    """Operations that the last epoch's draws (argmax) did not find; complete records alone list them.

    ``both``: neither pathway's; ``chance``: how many that would be on the mean, did the pathways miss independently.
    """
    a, b = (set(record["final"][name]["missed"]) for name in "ab")
    found = {"a": len(a), "b": len(b), "both": len(a & b), "chance": len(a) * len(b) / NUM_OPERATIONS}
    return float(found[pathway])


@of_record
def generation_gap(record: Record, pathway: str) -> float:
    """Points by which the trained operations are covered better than the unseen ones (argmax, last epoch). Complete records alone."""
    trained = set(split_indices(config_from_mapping(record["config"]).data).train.tolist())
    lost = len(trained.intersection(missed := record["final"][pathway]["missed"]))
    return 100 * ((len(missed) - lost) / (NUM_OPERATIONS - len(trained)) - lost / len(trained))


@of_record
def epochs_to_exact(record: Record, pathway: str, share: float) -> float:
    """The first tenth epoch that rebuilds this share of all operations alone; one past the end where none does."""
    history = record["history"]
    for row in _rows(record, 0, history["epoch"][-1]):
        if history[f"{pathway}.exact_all"][row] >= share:
            return float(history["epoch"][row])
    return epochs_trained(record)


@of_record
def correction_sd(record: Record, column: str) -> float:
    """Standard deviation over the epochs, the first left out, of one of StateNet's corrections."""
    found = record["history"][column][1:]
    middle = _mean(found)
    return math.sqrt(_mean([(value - middle) ** 2 for value in found]))


@of_record
def repulsion_beyond_diagonal(record: Record) -> float:
    """What repulsion adds to the last epoch's validation loss of B beyond its constant diagonal, α_rep·(L_rep - 1/n), nats."""
    config = record["config"]
    size, held = config["training"]["batch_size"], config["data"]["validation"]
    diagonal = math.ceil(held / size) / held if config["loss"]["repulsion"] == "gaussian" else 0.0
    return config["loss"]["repulsion_weight"] * (record["history"]["validation.repulsion_b"][-1] - diagonal)
