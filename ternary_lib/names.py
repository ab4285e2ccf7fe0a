"""From an operation back to its name; the names themselves stand in ``operations.NAMED``."""

from __future__ import annotations

from typing import Any

from ternary_lib.operations import NAMED, from_index, to_index

_BY_INDEX = {int(to_index(one.table)): name for name, one in NAMED.items()}


def name_of(index: Any) -> str | None:
    """The name of the operation with this index, a key of ``NAMED``; None where logic and arithmetic have none for it.

    Args:
        index: a whole number in [0, 19683), also as a tensor of one.

    Raises:
        ValueError: it is none.

    Example:
        >>> table = [[-1, -1, -1], [-1, 0, 0], [-1, 0, 1]]  # rows x, columns y
        >>> index = int(to_index(sum(table, [])))
        >>> index, name_of(index), name_of(0), name_of(1)
        (113, 'kleene_min', 'constant_minus', None)
    """
    if from_index(index).numel() != 9:
        raise ValueError(f"expected one operation index, got {index}")
    return _BY_INDEX.get(int(index))
