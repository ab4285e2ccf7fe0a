"""Coverage: decoders whose coverage is known must get it, on both sides of exact bounds, under every mode and budget."""

from __future__ import annotations

import itertools
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from statistics import mean, variance

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ternary_lib.coverage import (
    CHUNK,
    MODES,
    TERTILE,
    cell_counts,
    decode_indices,
    distinct,
    draw_indices,
    efficiency,
    sample_coverage,
    seen,
    tertile_decoder,
    uniform_coverage,
    uniform_decoder,
)
from ternary_lib.operations import NUM_OPERATIONS, POSITIONS, all_operations, from_index, to_index

N = NUM_OPERATIONS
BUDGETS = (10_000, 50_000, 195_000)
ALL_MINUS, ALL_ZERO = 0, (N - 1) // 2

pytestmark = pytest.mark.usefixtures("one_thread")


def seeded(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def uniform(rows: int, number: int) -> torch.Tensor:
    return torch.rand(rows, POSITIONS, generator=seeded(number))


def exact_mean(n: int) -> float:
    """E of the number of distinct cells hit by n uniform draws."""
    return N * (1 - (1 - 1 / N) ** n)


def exact_sd(n: int) -> float:
    """Standard deviation of the same: Var of a sum of N exchangeable indicators."""
    one, two = (1 - 1 / N) ** n, (1 - 2 / N) ** n
    return math.sqrt(N * one + N * (N - 1) * two - (N * one) ** 2)


def random_logits(rows: int, scale: float = 2.0, number: int = 0) -> torch.Tensor:
    return scale * torch.randn(rows, POSITIONS, 3, generator=seeded(number))


def constant_decoder(index: int, margin: float = 200.0):
    """One operation, with certainty, whatever z."""
    logits = margin * torch.nn.functional.one_hot(from_index(index) + 1, 3).float()
    return lambda z: logits.expand(len(z), POSITIONS, 3)


# ------------------------------------------------------------------------------- the bounds the tests rest on


def test_exact_mean_and_sd_agree_with_enumeration_of_small_cases(monkeypatch):
    monkeypatch.setitem(globals(), "N", 3)
    for n in (1, 2, 4):
        counts = [len(set(draws)) for draws in itertools.product(range(3), repeat=n)]
        average = sum(counts) / len(counts)
        spread = math.sqrt(sum((c - average) ** 2 for c in counts) / len(counts))
        assert exact_mean(n) == pytest.approx(average)
        assert exact_sd(n) == pytest.approx(spread, abs=1e-7)


# --------------------------------------------------------------------------------- decoders of known coverage


@pytest.fixture(scope="module")
def ideal() -> dict[str, torch.Tensor]:
    return draw_indices(tertile_decoder, max(BUDGETS), MODES, seeded(1))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n", BUDGETS)
def test_ideal_decoder_covers_what_a_uniform_generator_does(ideal, mode, n):
    assert abs(distinct(ideal[mode][:n]) - exact_mean(n)) < 4.5 * exact_sd(n)


def test_ideal_decoder_over_repeats_has_the_exact_mean_and_variance():
    n, repeats = 5_000, 24
    counts = [N * sample_coverage(tertile_decoder, n, "argmax", seeded(100 + k)) for k in range(repeats)]
    assert abs(mean(counts) - exact_mean(n)) < 4 * exact_sd(n) / math.sqrt(repeats)
    assert 0.35 < variance(counts) / exact_sd(n) ** 2 < 2.2  # chi-square of 23 degrees, 1e-4 on each side


def test_ideal_decoder_cells_are_uniform():
    draws = 20 * N
    counts = cell_counts(tertile_decoder, draws, seeded(2)).double()
    assert counts.sum() == draws
    chi_square = float(((counts - 20) ** 2 / 20).sum())
    assert abs(chi_square - (N - 1)) < 4.5 * math.sqrt(2 * (N - 1))


def test_ideal_decoder_at_zero_by_hand():
    assert torch.allclose(tertile_decoder(torch.zeros(1, 16)), torch.tensor([-430.7273, 0.0, -430.7273]).expand(1, 9, 3), atol=1e-3)


def test_ideal_decoder_reads_each_trit_from_its_own_tertile():
    z = torch.tensor([[-0.44, 0.44, 0.0, -0.43, 0.43, -9.0, 9.0, 0.1, -0.5, 99.0]])
    operation = [-1, 1, 0, 0, 0, -1, 1, 0, -1]
    expected = to_index(operation).item()
    assert expected == decode_indices(tertile_decoder(z), ("argmax",))["argmax"].item()
    assert torch.special.ndtr(torch.tensor(TERTILE, dtype=torch.float64)).item() == pytest.approx(2 / 3, abs=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("index", [0, 113, 9_841, 19_682])
def test_constant_decoder_covers_one_operation(mode, index):
    found = draw_indices(constant_decoder(index), 5_000, (mode,), seeded(3))[mode]
    assert found.unique().tolist() == [index]
    assert sample_coverage(constant_decoder(index), 5_000, mode, seeded(3)) == 1 / N


@pytest.mark.parametrize("n", BUDGETS)
def test_uniform_decoder_is_perfect_under_categorical_and_knows_one_operation_otherwise(n):
    found = draw_indices(uniform_decoder, n, MODES, seeded(4))
    assert abs(distinct(found["categorical"]) - exact_mean(n)) < 4.5 * exact_sd(n)
    assert found["argmax"].unique().tolist() == [ALL_MINUS]  # a tie goes to the first value
    assert found["expectation"].unique().tolist() == [ALL_ZERO]


def test_a_decoder_that_reaches_half_the_cells_is_told_from_the_ideal_one():
    def half(z):
        logits = tertile_decoder(z).clone()
        logits[:, 0, 2] = -1e6  # position 0 is never +1: 2/3 of the operations are left
        return logits

    assert N * sample_coverage(half, 195_000, "argmax", seeded(5)) == pytest.approx(2 * N / 3, abs=5)


# -------------------------------------------------------------------------------------------------- decoding


def naive_indices(values: torch.Tensor) -> torch.Tensor:
    """[n, 9] in -1, 0, 1 to indices, by the domain's own arithmetic."""
    return to_index(values.long())


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_argmax_equals_the_naive_reference(scale):
    logits = random_logits(2_000, scale)
    assert torch.equal(decode_indices(logits, ("argmax",))["argmax"], naive_indices(logits.argmax(-1) - 1))


def test_argmax_ties_go_to_the_lowest_value_as_in_torch():
    levels = torch.tensor(list(itertools.product((0.0, 1.0, 2.0), repeat=3)))  # every order of three values, ties included
    logits = levels[:, None, :].expand(-1, POSITIONS, 3)
    got = from_index(decode_indices(logits, ("argmax",))["argmax"])
    assert torch.equal(got, logits.argmax(-1) - 1)
    first_largest = torch.tensor([row.index(max(row)) - 1 for row in levels.tolist()])
    assert torch.equal(got, first_largest[:, None].expand(-1, POSITIONS))


@pytest.mark.parametrize("scale", [0.3, 3.0, 200.0])
def test_expectation_equals_the_naive_reference(scale):
    logits = random_logits(5_000, scale, number=1)
    means = logits.double().softmax(-1) @ torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
    clear = ((means.abs() - 0.5).abs() > 1e-5).all(-1)  # away from the boundary float32 and float64 must agree
    got = decode_indices(logits, ("expectation",))["expectation"]
    assert clear.float().mean() > 0.95
    assert torch.equal(got[clear], naive_indices(means.round())[clear])


def test_expectation_of_exactly_a_half_rounds_to_zero_as_torch_does():
    logits = torch.tensor([[-math.inf, 0.0, 0.0], [0.0, 0.0, -math.inf], [0.0, -math.inf, 0.0]])
    got = decode_indices(logits[:, None, :].expand(-1, POSITIONS, 3), ("expectation",))["expectation"]
    assert torch.tensor([0.5, -0.5, 0.0]).round().tolist() == [0.0, 0.0, 0.0]
    assert got.tolist() == [ALL_ZERO] * 3


@pytest.mark.parametrize("scale", [0.5, 4.0])
def test_categorical_equals_inverse_transform_of_the_same_uniforms(scale):
    logits = random_logits(3_000, scale, number=2)
    uniforms = torch.rand(3_000, POSITIONS, generator=seeded(6)).double()
    cumulative = logits.double().softmax(-1).cumsum(-1)
    edges = cumulative[..., :2]
    clear = ((edges - uniforms[..., None]).abs() > 1e-6).flatten(1).all(1)
    naive = naive_indices((uniforms[..., None] >= edges).sum(-1) - 1)
    got = decode_indices(logits, ("categorical",), uniforms)["categorical"]
    assert clear.float().mean() > 0.99
    assert torch.equal(got[clear], naive[clear])


def test_categorical_frequencies_match_the_softmax_on_both_sides():
    draws, logits = 60_000, random_logits(1, 1.0, number=3)
    values = from_index(decode_indices(logits.expand(draws, -1, -1), ("categorical",), uniform(draws, 7))["categorical"])
    frequency = torch.stack([(values == v).double().mean(0) for v in (-1, 0, 1)], dim=-1)  # [9, 3]
    p = logits[0].double().softmax(-1)
    assert ((frequency - p).abs() < 4.5 * (p * (1 - p) / draws).sqrt()).all()
    joint = ((values[:, 0] == 0) & (values[:, 8] == 0)).double().mean()  # positions are drawn independently
    product = p[0, 1] * p[8, 1]
    assert abs(joint - product) < 4.5 * math.sqrt(product * (1 - product) / draws)


def test_a_value_of_probability_zero_is_never_drawn():
    logits = torch.full((20_000, POSITIONS, 3), -math.inf)
    logits[:, :, 1] = 0.0
    assert decode_indices(logits, ("categorical",), uniform(20_000, 8))["categorical"].unique().tolist() == [ALL_ZERO]
    nought = torch.zeros(1, POSITIONS)  # the least random number there is
    assert decode_indices(logits[:1], ("categorical",), nought)["categorical"].item() == ALL_ZERO
    assert decode_indices(logits[:1, :, [0, 2, 1]], ("categorical",), nought)["categorical"].item() == N - 1


@pytest.mark.parametrize("mode", MODES)
def test_index_arithmetic_is_to_index_on_every_operation(mode):
    operations = all_operations()
    logits = 300.0 * torch.nn.functional.one_hot(operations + 1, 3).float()
    got = decode_indices(logits, (mode,), uniform(len(logits), 9))[mode]
    assert got.dtype == torch.int64
    assert torch.equal(got, to_index(operations))
    assert torch.equal(got, torch.arange(N))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_every_floating_type_decodes_alike(dtype):
    logits = 16.0 * torch.nn.functional.one_hot(all_operations() + 1, 3).to(dtype)
    for mode in ("argmax", "expectation"):
        assert torch.equal(decode_indices(logits, (mode,))[mode], torch.arange(N))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-50, 50, width=32), min_size=27, max_size=27))
def test_any_logits_decode_to_their_largest_and_to_their_nearest_mean(values):
    logits = torch.tensor(values).view(1, POSITIONS, 3)
    decoded = decode_indices(logits, ("argmax", "expectation"))
    assert decoded["argmax"].item() == to_index(logits.argmax(-1)[0] - 1).item()
    means = logits.double().softmax(-1)[0] @ torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
    assert ((from_index(decoded["expectation"])[0] - means).abs() <= 0.5 + 1e-5).all()


# ------------------------------------------------------------------------------- draws, prefixes, generators


@pytest.mark.parametrize("n", [1, 7, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 9_000])
def test_a_smaller_budget_is_a_prefix_of_a_bigger_pass(n):
    decoder = torch.nn.Linear(16, 27)
    decoder.requires_grad_(False)

    def logits(z):
        return decoder(z).view(-1, POSITIONS, 3)

    large = draw_indices(logits, 12_000, MODES, seeded(10))
    small = draw_indices(logits, n, MODES, seeded(10))
    for mode in MODES:
        assert small[mode].shape == (n,)
        assert torch.equal(small[mode], large[mode][:n])


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_threads_that_share_the_decoding_change_nothing(workers):
    decoder, threads = torch.nn.Linear(16, 27).requires_grad_(False), []

    def logits(z):
        threads.append(threading.get_ident())
        return decoder(z).view(-1, POSITIONS, 3)

    alone = draw_indices(logits, 9_000, MODES, seeded(10))
    assert set(threads) == {threading.get_ident()}
    threads.clear()
    with ThreadPoolExecutor(workers) as pool:
        shared = draw_indices(logits, 9_000, MODES, seeded(10), pool=pool)
    assert threads and threading.get_ident() not in threads
    assert all(torch.equal(alone[mode], shared[mode]) for mode in MODES)


def test_categorical_needs_its_random_numbers():
    with pytest.raises(ValueError, match=r"^decode mode 'categorical' needs uniforms, one a position$"):
        decode_indices(torch.zeros(2, 9, 3), ("categorical",))


def test_coverage_never_falls_with_the_budget(ideal):
    counts = [distinct(ideal["argmax"][:n]) for n in range(1_000, 195_000, 9_700)]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_all_modes_decode_the_same_draws():
    sharp = draw_indices(tertile_decoder, 4_000, MODES, seeded(11))
    assert (sharp["argmax"] == sharp["expectation"]).float().mean() > 0.99
    assert (sharp["argmax"] == sharp["categorical"]).float().mean() > 0.95
    assert set(sharp) == set(MODES)


def test_sample_coverage_is_distinct_over_all():
    got = sample_coverage(tertile_decoder, 6_000, "argmax", seeded(12))
    indices = draw_indices(tertile_decoder, 6_000, ("argmax",), seeded(12))["argmax"]
    assert got == len(indices.unique()) / N
    shapes = []
    sample_coverage(lambda z: shapes.append(z.shape) or uniform_decoder(z), 1, "argmax", seeded(12), latent_dim=11)
    assert shapes == [(CHUNK, 11)]


def test_the_datas_device_decides_and_not_the_default_one():
    logits, uniforms = torch.randn(5, POSITIONS, 3, generator=seeded(16)), uniform(5, 16)
    with torch.device("meta"):  # a tensor made there holds no numbers, and none can be read from it
        drawn = draw_indices(tertile_decoder, 5, MODES, seeded(17))
        decoded = decode_indices(logits, MODES, uniforms)
        counts, mask = cell_counts(tertile_decoder, 5, seeded(17)), seen(drawn["argmax"])
    assert {t.device.type for t in (*drawn.values(), *decoded.values(), counts, mask)} == {"cpu"}


def test_the_prior_is_standard_normal_in_the_given_dimension():
    shapes, codes = [], []

    def spy(z):
        shapes.append(z.shape)
        codes.append(z.clone())
        return uniform_decoder(z)

    draw_indices(spy, 3 * CHUNK, ("argmax",), seeded(13), latent_dim=11)
    z = torch.cat(codes)
    assert shapes == [(CHUNK, 11)] * 3
    assert abs(z.mean().item()) < 4.5 / math.sqrt(z.numel())
    assert abs(z.var().item() - 1) < 4.5 * math.sqrt(2 / z.numel())


def test_draws_build_no_graph():
    decoder = torch.nn.Linear(16, 27)
    found = []

    def logits(z):
        found.append(torch.is_grad_enabled())
        return decoder(z).view(-1, POSITIONS, 3)

    sample_coverage(logits, 10, "argmax", seeded(14))
    cell_counts(logits, 10, seeded(14))
    assert found == [False, False]


@pytest.mark.parametrize("draws", [1, CHUNK, CHUNK + 5, 10_000])
def test_cell_counts_count_the_argmax_draws(draws):
    indices = draw_indices(tertile_decoder, draws, ("argmax",), seeded(15))["argmax"]
    assert torch.equal(cell_counts(tertile_decoder, draws, seeded(15)), torch.bincount(indices, minlength=N))


def test_cells_are_whole_numbers_and_can_be_counted_without_a_generator():
    found = cell_counts(tertile_decoder, CHUNK + 5)
    assert found.dtype == torch.int64
    assert found.sum() == CHUNK + 5


def test_distinct_and_seen():
    indices = torch.tensor([5, 5, 0, 19_682, 5])
    assert distinct(indices) == 3
    assert seen(indices).nonzero().flatten().tolist() == [0, 5, 19_682]
    assert seen(indices).dtype == torch.bool
    assert distinct(torch.tensor([], dtype=torch.long)) == 0


# ------------------------------------------------------------------------------------------------- baselines


@pytest.mark.parametrize(
    ("n", "percent", "half_unit"),
    [(10_000, 39.83, 0.005), (50_000, 92.12, 0.005), (100_000, 99.38, 0.005), (195_000, 99.995, 0.0005)],
)
def test_uniform_coverage_gives_the_known_figures(n, percent, half_unit):
    assert abs(100 * uniform_coverage(n) - percent) <= half_unit


def test_uniform_coverage_is_the_exact_expectation():
    for n in (1, 2, 100, *BUDGETS, 511_758):
        assert N * uniform_coverage(n) == pytest.approx(exact_mean(n), rel=1e-9)
    assert uniform_coverage(0) == 0
    assert uniform_coverage(1) == pytest.approx(1 / N, rel=1e-12)


def test_no_generator_exceeds_its_draws():
    ceiling = 10_000 / N
    assert ceiling == pytest.approx(0.508, abs=0.0005)
    assert uniform_coverage(10_000) < ceiling


@pytest.mark.parametrize("n", [1, 500, *BUDGETS])
def test_efficiency_of_a_uniform_generator_is_one(n):
    assert efficiency(uniform_coverage(n), n) == pytest.approx(1, rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.05, 1.0), st.integers(1_000, 150_000))
def test_efficiency_is_the_share_of_draws_a_uniform_generator_needs(share, n):
    reached = uniform_coverage(math.floor(share * n))
    assert efficiency(reached, n) == pytest.approx(math.floor(share * n) / n, rel=1e-6)


def test_efficiency_of_the_sources_figure():
    needed = math.log(1 - 0.9764) / math.log1p(-1 / N)
    assert needed == pytest.approx(73_700, abs=50)
    assert efficiency(0.9764, 195_000) == pytest.approx(needed / 195_000)


def test_with_nothing_missing_half_an_operation_is_taken_as_missing():
    expected = math.log(0.5 / N) / (195_000 * math.log1p(-1 / N))
    assert efficiency(1.0, 195_000) == pytest.approx(expected, rel=1e-12)
    assert efficiency(1.0, 195_000) > efficiency(1 - 1 / N, 195_000) > efficiency(1 - 2 / N, 195_000)
    assert efficiency(0.0, 1_000) == 0


@pytest.mark.parametrize("value", [-0.01, 1.0001, 97.64, math.nan, math.inf])
def test_efficiency_refuses_what_is_no_fraction(value):
    with pytest.raises(ValueError, match="expected a fraction from 0 to 1"):
        efficiency(value, 1_000)


@pytest.mark.parametrize("n", [0, -5])
def test_no_draws_are_refused(n):
    with pytest.raises(ValueError, match="at least one draw"):
        efficiency(0.5, n)
    with pytest.raises(ValueError, match="at least one draw"):
        sample_coverage(tertile_decoder, n, "argmax", seeded(0))
    with pytest.raises(ValueError, match="at least one draw"):
        cell_counts(tertile_decoder, n, seeded(0))


@pytest.mark.parametrize("mode", ["", "mean", "ARGMAX", "sample"])
def test_an_unknown_mode_is_refused_by_name(mode):
    with pytest.raises(ValueError, match=f"decode mode {mode!r}: expected one of argmax, categorical, expectation"):
        sample_coverage(tertile_decoder, 10, mode, seeded(0))
