"""The domain: all 19,683 binary operations on {-1, 0, +1}, their numbering, their algebra, their names.

A *ternary operation* f(x, y) is a truth table of nine trits. Position j = 3·(x+1) + (y+1) holds
f(x, y); read with digit = value + 1 and position 0 the most significant, the table is a base-3
number, the operation's index.

Every function here works on whole batches. The predicates ``is_*`` and ``has_identity`` take truth
tables [..., 9] exactly as :func:`to_index` does, raise what it raises, and return bool [...].

Example:
    >>> ops = all_operations()
    >>> int(is_commutative(ops).sum()), int((is_associative(ops) & has_identity(ops)).sum())
    (729, 33)
    >>> NAMED["kleene_min"].index, NAMED["kleene_min"].table
    (113, (-1, -1, -1, -1, 0, 0, -1, 0, 1))
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

POSITIONS = 9
NUM_OPERATIONS = 3**POSITIONS  # 19,683


def all_operations() -> Int[Tensor, "19683 9"]:
    """Every truth table, in the order of its index.

    Example:
        >>> all_operations().shape, all_operations()[0].tolist()
        (torch.Size([19683, 9]), [-1, -1, -1, -1, -1, -1, -1, -1, -1])
    """
    return from_index(torch.arange(NUM_OPERATIONS))


def to_index(ops: Any) -> Int[Tensor, "*batch"]:
    """Index of each truth table: i = Σ_j (f_j + 1)·3^(8-j), j = 0 … 8.

    Args:
        ops: whole numbers in {-1, 0, +1}, [..., 9]; any dtype, or nested lists.

    Returns:
        int64 in [0, 19683), [...], on the device of ``ops``.

    Raises:
        ValueError: the last dimension is not 9, or a value is not a trit.

    Example:
        >>> to_index([[-1] * 9, [1] * 9])
        tensor([    0, 19682])
    """
    digits = _digits(ops)
    return (digits * _place_values(digits)).sum(-1)


def from_index(i: Any) -> Int[Tensor, "*batch 9"]:
    """Truth table of each index, the inverse of :func:`to_index`: f_j = ⌊i / 3^(8-j)⌋ mod 3 - 1.

    Args:
        i: whole numbers in [0, 19683), [...]; any dtype, a number or nested lists.

    Returns:
        int64 in {-1, 0, +1}, [..., 9], on the device of ``i``.

    Raises:
        ValueError: an index is not whole, or outside [0, 19683).

    Example:
        >>> from_index(113).reshape(3, 3)  # Kleene's min: rows x, columns y
        tensor([[-1, -1, -1],
                [-1,  0,  0],
                [-1,  0,  1]])
    """
    rule = f"an operation index is a whole number in [0, {NUM_OPERATIONS})"
    i = _whole(i, 0, NUM_OPERATIONS - 1, rule).unsqueeze(-1)  # [..., 1]
    return i // _place_values(i) % 3 - 1


def is_commutative(ops: Any) -> Bool[Tensor, "*batch"]:
    """f(x, y) = f(y, x) for all x, y (729 operations).

    >>> is_commutative(NAMED["kleene_min"].table), is_commutative(NAMED["projection_x"].table)
    (tensor(True), tensor(False))
    """
    square = _square(ops)
    return (square == square.mT).flatten(-2).all(-1)


def is_associative(ops: Any) -> Bool[Tensor, "*batch"]:
    """f(f(x, y), z) = f(x, f(y, z)) for all x, y, z (113 operations: OEIS A023814, n = 3).

    >>> is_associative(NAMED["sum_mod_3"].table), is_associative(NAMED["accept_anything"].table)
    (tensor(True), tensor(False))
    """
    digits = _digits(ops)
    value = torch.arange(3, device=digits.device)
    f_xy_then_z = 3 * digits.unsqueeze(-1) + value  # [..., 9 (x, y), 3 (z)]: the position of (f(x, y), z)
    x_then_f_yz = 3 * value.unsqueeze(-1) + digits.unsqueeze(-2)  # [..., 3 (x), 9 (y, z)]: that of (x, f(y, z))
    left = digits.gather(-1, f_xy_then_z.flatten(-2))  # [..., 27], in the order x, y, z
    right = digits.gather(-1, x_then_f_yz.flatten(-2))
    return (left == right).all(-1)


def is_idempotent(ops: Any) -> Bool[Tensor, "*batch"]:
    """f(x, x) = x for all x (729 operations).

    >>> is_idempotent(NAMED["consensus"].table), is_idempotent(NAMED["product"].table)
    (tensor(True), tensor(False))
    """
    square = _square(ops)
    value = torch.arange(3, device=square.device)
    return (square.diagonal(dim1=-2, dim2=-1) == value).all(-1)


def has_identity(ops: Any) -> Bool[Tensor, "*batch"]:
    """Some e has f(e, x) = f(x, e) = x for all x: a two-sided identity (243 operations).

    >>> has_identity(NAMED["product"].table), has_identity(NAMED["projection_x"].table)
    (tensor(True), tensor(False))
    """
    square = _square(ops)
    value = torch.arange(3, device=square.device)
    left = (square == value).all(-1)  # row e is the identity map
    right = (square == value.unsqueeze(-1)).all(-2)  # column e is
    return (left & right).any(-1)


def is_latin_square(ops: Any) -> Bool[Tensor, "*batch"]:
    """Every row and every column of the table is a permutation: a quasigroup (12 operations).

    >>> is_latin_square(NAMED["sum_mod_3"].table), is_latin_square(NAMED["product"].table)
    (tensor(True), tensor(False))
    """
    square = _square(ops)
    value = torch.arange(3, device=square.device)
    rows = (square.sort(-1).values == value).flatten(-2).all(-1)
    columns = (square.sort(-2).values == value.unsqueeze(-1)).flatten(-2).all(-1)
    return rows & columns


def is_conservative(ops: Any) -> Bool[Tensor, "*batch"]:
    """f(x, y) ∈ {x, y} for all x, y: the result is always one of the arguments (64 operations).

    >>> is_conservative(NAMED["kleene_max"].table), is_conservative(NAMED["consensus"].table)
    (tensor(True), tensor(False))
    """
    square = _square(ops)
    value = torch.arange(3, device=square.device)
    return ((square == value) | (square == value.unsqueeze(-1))).flatten(-2).all(-1)


@dataclass(frozen=True)
class NamedOperation:
    """An operation that logic or arithmetic has a name for: its truth table, index and literature."""

    name: str
    table: tuple[int, ...]  # nine trits, position 3·(x+1) + (y+1)
    index: int
    source: str
    description: str


def _name_operations() -> Mapping[str, NamedOperation]:
    """Build NAMED; each table is its defining formula evaluated on the grid of all (x, y)."""
    trit = torch.tensor([-1, 0, 1])
    x, y = trit.repeat_interleave(3), trit.repeat(3)  # [9], position 3·(x+1) + (y+1)
    low, high, one = torch.minimum(x, y), torch.maximum(x, y), torch.ones_like(x)
    kleene = "S. C. Kleene, Introduction to Metamathematics (1952), § 64"
    jones = "D. W. Jones, Standard Ternary Logic (University of Iowa, web page)"
    knuth = "D. E. Knuth, The Art of Computer Programming 2, § 4.1 (balanced ternary)"
    clone = "D. Lau, Function Algebras on Finite Sets (2006)"
    formulas = [
        ("kleene_min", low, kleene, "min(x, y): strong conjunction"),
        ("kleene_max", high, kleene, "max(x, y): strong disjunction"),
        ("kleene_implication", torch.maximum(-x, y), kleene, "max(-x, y): not x, or y"),
        (
            "lukasiewicz_implication",
            torch.minimum(one, 1 - x + y),
            "J. Łukasiewicz, O logice trójwartościowej (1920)",
            "min(1, 1 - x + y): unknown implies unknown is true",
        ),
        (
            "heyting_implication",
            torch.where(x <= y, one, y),
            "A. Heyting, Die formalen Regeln der intuitionistischen Logik (1930); K. Gödel (1932)",
            "1 if x ≤ y else y: the residuum of min, Gödel's G3",
        ),
        (
            "rm_implication",
            torch.where(x <= y, torch.maximum(-x, y), torch.minimum(-x, y)),
            "B. Sobociński, J. Computing Systems 1 (1952); A. R. Anderson and N. D. Belnap, Entailment I (1975): RM3",
            "max(-x, y) if x ≤ y else min(-x, y): relevant implication",
        ),
        ("sum_mod_3", (x + y + 1) % 3 - 1, jones, "x + y mod 3, balanced: the cyclic group of order 3"),
        ("product", x * y, knuth, "x·y: multiplication of trits, and Kleene's equivalence"),
        ("consensus", torch.where(x == y, x, 0), jones, "x if x = y else 0: say only what both say"),
        ("accept_anything", (x + y).sign(), jones, "sign(x + y): gullibility, any opinion not contradicted"),
        ("projection_x", x, clone, "x: the second argument is ignored"),
        ("projection_y", y, clone, "y: the first argument is ignored"),
        ("constant_minus", -one, clone, "-1: always false"),
        ("constant_zero", 0 * one, clone, "0: always unknown"),
        ("constant_plus", one, clone, "+1: always true"),
        ("comparison", (x - y).sign(), "Wikipedia, Three-way comparison", "sign(x - y): below, equal or above"),
    ]
    named = {
        name: NamedOperation(name, tuple(table.tolist()), int(to_index(table)), source, description)
        for name, table, source, description in formulas
    }
    return MappingProxyType(named)


def _digits(ops: Any) -> Int[Tensor, "*batch 9"]:
    """Validated truth tables as digits 0, 1, 2."""
    trits = _whole(ops, -1, 1, "operations take the values -1, 0 and 1")
    if trits.ndim == 0 or trits.shape[-1] != POSITIONS:
        raise ValueError(f"operations need {POSITIONS} positions in the last dimension, got shape {list(trits.shape)}")
    return trits + 1


def _square(ops: Any) -> Int[Tensor, "*batch 3 3"]:
    """Digits laid out as the square table, rows x and columns y."""
    return _digits(ops).unflatten(-1, (3, 3))


def _place_values(like: Tensor) -> Int[Tensor, "positions"]:
    """3^8, 3^7, … 1."""
    return 3 ** torch.arange(POSITIONS - 1, -1, -1, device=like.device)


def _whole(values: Any, low: int, high: int, rule: str) -> Int[Tensor, "*shape"]:
    """``values`` as int64, every one whole and within [low, high]; else a ValueError that states the rule."""
    try:
        values = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):  # text, None, ragged lists
        raise ValueError(f"{rule}, got {reprlib.repr(values)}") from None
    if values.dtype == torch.bool or values.is_complex():
        raise ValueError(f"{rule}, got {str(values.dtype).removeprefix('torch.')}")
    whole = values.long()
    wrong = (whole != values) | (whole < low) | (whole > high)  # NaN differs from everything
    if wrong.any():
        raise ValueError(f"{rule}, got {values[wrong][0].item():g}")
    return whole


NAMED: Mapping[str, NamedOperation] = _name_operations()
