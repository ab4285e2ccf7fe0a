"""The domain: a bijection over all 19,683 tables, the known counts of its algebra, and each named table."""

from __future__ import annotations

import dataclasses
import doctest
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ternary_lib import operations
from ternary_lib.operations import NAMED, NUM_OPERATIONS, POSITIONS, all_operations, from_index, to_index

TRITS = (-1, 0, 1)
PAIRS = list(itertools.product(TRITS, TRITS))  # position 3·(x+1) + (y+1)
tables = st.lists(st.sampled_from(TRITS), min_size=9, max_size=9)


# ------------------------------------------------------------------------------------------------- numbering


def test_sizes():
    assert (POSITIONS, NUM_OPERATIONS) == (9, 19_683)
    assert all_operations().shape == (19_683, 9)
    assert all_operations().dtype == torch.int64


def test_tables_are_in_lexicographic_order():
    expected = torch.tensor(list(itertools.product(TRITS, repeat=9)))
    assert torch.equal(all_operations(), expected)


def test_index_is_a_bijection():
    index = torch.arange(NUM_OPERATIONS)
    assert torch.equal(to_index(from_index(index)), index)


@given(tables)
def test_index_is_base_three_with_position_0_most_significant(table):
    assert to_index(table).item() == int("".join(str(value + 1) for value in table), base=3)


def test_every_position_has_its_place_value():
    tables = torch.eye(9, dtype=torch.int64) - 1  # one 0 among -1
    assert to_index(tables).tolist() == [6561, 2187, 729, 243, 81, 27, 9, 3, 1]


@pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 3), (4, 1, 5)])
def test_leading_dimensions_are_kept(shape):
    index = torch.randint(NUM_OPERATIONS, shape, generator=torch.Generator().manual_seed(0))
    ops = from_index(index)
    assert ops.shape == (*shape, 9)
    assert torch.equal(to_index(ops), index)
    assert operations.is_associative(ops).shape == shape


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.float32, torch.float64])
def test_whole_numbers_of_any_type(dtype):
    assert to_index(torch.tensor(NAMED["product"].table, dtype=dtype)).item() == NAMED["product"].index
    assert torch.equal(from_index(torch.tensor(113, dtype=dtype)), from_index(113))


# ------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([0] * 8, "operations need 9 positions in the last dimension, got shape [8]"),
        ([[0] * 3] * 3, "operations need 9 positions in the last dimension, got shape [3, 3]"),
        (0, "operations need 9 positions in the last dimension, got shape []"),
        ([0] * 8 + [2], "operations take the values -1, 0 and 1, got 2"),
        ([0.0] * 8 + [0.5], "operations take the values -1, 0 and 1, got 0.5"),
        ([0.0] * 8 + [float("nan")], "operations take the values -1, 0 and 1, got nan"),
        ([0.0] * 8 + [1e30], "operations take the values -1, 0 and 1, got 1e+30"),
        ([-(2**63)] * 9, "operations take the values -1, 0 and 1, got -9.22337e+18"),
        (torch.full((9,), 255, dtype=torch.uint8), "operations take the values -1, 0 and 1, got 255"),
        ([True] * 9, "operations take the values -1, 0 and 1, got bool"),
        ("min", "operations take the values -1, 0 and 1, got 'min'"),
        ([[0] * 9, [0] * 8], "operations take the values -1, 0 and 1, got [[0,"),
    ],
)
@pytest.mark.parametrize("function", [to_index, operations.is_associative, operations.has_identity])
def test_bad_tables_are_refused_in_one_line(function, bad, message):
    with pytest.raises(ValueError) as caught:
        function(bad)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("bad", "got"),
    [
        (-1, "-1"),
        (NUM_OPERATIONS, "19683"),
        ([0, 5, 20_000], "20000"),
        (0.5, "0.5"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (1e30, "1e+30"),
        (10**30, "1000000000000000000000000000000"),
        (True, "bool"),
        (1j, "complex64"),
        ("113", "'113'"),
        (None, "None"),
    ],
)
def test_bad_indices_are_refused_in_one_line(bad, got):
    with pytest.raises(ValueError) as caught:
        from_index(bad)
    assert str(caught.value) == f"an operation index is a whole number in [0, 19683), got {got}"


# ------------------------------------------------------------------------------------------------- algebra

KNOWN_COUNTS = {
    "is_commutative": 3**6,
    "is_idempotent": 3**6,
    "has_identity": 3 * 3**4,
    "is_associative": 113,  # OEIS A023814
    "is_latin_square": 12,
    "is_conservative": 2**6,
}


def first_principles(table: list[int]) -> dict[str, bool]:
    """Each property, spelt out over a dictionary f[x, y]."""
    f = dict(zip(PAIRS, table, strict=True))
    lines = [[f[x, y] for y in TRITS] for x in TRITS] + [[f[x, y] for x in TRITS] for y in TRITS]
    return {
        "is_commutative": all(f[x, y] == f[y, x] for x, y in PAIRS),
        "is_idempotent": all(f[x, x] == x for x in TRITS),
        "has_identity": any(all(f[e, x] == x == f[x, e] for x in TRITS) for e in TRITS),
        "is_associative": all(f[f[x, y], z] == f[x, f[y, z]] for x, y in PAIRS for z in TRITS),
        "is_latin_square": all(sorted(line) == list(TRITS) for line in lines),
        "is_conservative": all(f[x, y] in (x, y) for x, y in PAIRS),
    }


@pytest.mark.parametrize(("name", "count"), KNOWN_COUNTS.items())
def test_known_counts(name, count):
    assert getattr(operations, name)(all_operations()).sum().item() == count


@given(tables)
def test_properties_agree_with_first_principles(table):
    for name, expected in first_principles(table).items():
        found = getattr(operations, name)(table)
        assert (found.dtype, found.shape) == (torch.bool, ())
        assert found.item() is expected, name


@pytest.mark.parametrize("name", KNOWN_COUNTS)
def test_properties_agree_with_first_principles_where_they_hold(name):
    """Random tables hardly ever have a property; here every table that has it is looked at."""
    holds = all_operations()[getattr(operations, name)(all_operations())]
    assert all(first_principles(table)[name] for table in holds.tolist())


# ------------------------------------------------------------------------------------------------- names


def rows(text: str) -> tuple[int, ...]:
    """A table written as in the literature: rows x = -, 0, +; columns y = -, 0, +."""
    return tuple("-0+".index(mark) - 1 for mark in text.replace(" ", ""))


PUBLISHED = {  # the printed truth tables, not their formulas
    "kleene_min": "--- -00 -0+",
    "kleene_max": "-0+ 00+ +++",
    "kleene_implication": "+++ 00+ -0+",
    "lukasiewicz_implication": "+++ 0++ -0+",
    "heyting_implication": "+++ -++ -0+",
    "rm_implication": "+++ -0+ --+",
    "sum_mod_3": "+-0 -0+ 0+-",
    "product": "+0- 000 -0+",
    "consensus": "-00 000 00+",
    "accept_anything": "--0 -0+ 0++",
    "projection_x": "--- 000 +++",
    "projection_y": "-0+ -0+ -0+",
    "constant_minus": "--- --- ---",
    "constant_zero": "000 000 000",
    "constant_plus": "+++ +++ +++",
    "comparison": "0-- +0- ++0",
}


def test_every_name_is_checked():
    assert set(NAMED) == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_named_tables_are_the_published_ones(name):
    operation = NAMED[name]
    assert operation.table == rows(PUBLISHED[name])
    assert from_index(operation.index).tolist() == list(operation.table)
    assert operation.name == name
    assert operation.source and operation.description


def test_names_are_distinct_operations():
    assert len({operation.index for operation in NAMED.values()}) == len(NAMED)


@pytest.mark.parametrize("name", [name for name in NAMED if name.endswith("implication")])
def test_implications_extend_the_classical_one(name):
    f = dict(zip(PAIRS, NAMED[name].table, strict=True))
    assert [f[-1, -1], f[-1, 1], f[1, -1], f[1, 1]] == [1, 1, -1, 1]


def test_heyting_implication_is_the_residuum_of_min():
    f = dict(zip(PAIRS, NAMED["heyting_implication"].table, strict=True))
    for x, y in PAIRS:
        assert f[x, y] == max(z for z in TRITS if min(z, x) <= y)


def test_sum_is_the_cyclic_group():
    f = dict(zip(PAIRS, NAMED["sum_mod_3"].table, strict=True))
    assert all((f[x, y] - x - y) % 3 == 0 for x, y in PAIRS)


def test_names_are_read_only():
    with pytest.raises(dataclasses.FrozenInstanceError):
        NAMED["product"].index = 0
    with pytest.raises(TypeError):
        NAMED["product"] = None


def test_doctests():
    result = doctest.testmod(operations)
    assert result.attempted > 10
    assert result.failed == 0
