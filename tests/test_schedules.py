"""Schedules against values worked out by hand from their definition, at every boundary and beyond the end."""

import itertools
import json
import math
import subprocess
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ternary_lib import schedules
from ternary_lib.config import load_config

PRODUCTION = load_config("configs/ternary_v5_5.yaml").schedules
PUBLISHED = load_config("configs/ternary_v5_5_published.yaml").schedules
FAST = load_config("configs/ternary_v5_5_fast.yaml").schedules
OPEN, CLOSED = 1.0, 1.5  # gradient ratios
INCREMENT = 0.4 / 130

epochs = st.floats(0, 2000)
gates = st.lists(st.booleans(), min_size=300, max_size=300)


def walk(section, ratios):
    """ρ of every epoch, one gradient ratio an epoch."""
    permeability = schedules.Permeability(section)
    return [permeability.step(epoch, ratio) for epoch, ratio in enumerate(ratios)]


def exactly(value):
    return pytest.approx(value, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(
    ("section", "first_epochs"), [(PRODUCTION, (0, 40, 120, 250)), (PUBLISHED, (0, 40, 120, 250)), (FAST, (0, 10, 30, 62))]
)
def test_phase_changes_exactly_at_its_boundary(section, first_epochs):
    for number, first in enumerate(first_epochs, 1):
        assert [schedules.phase(first + step, section) for step in (0, 1)] == [number] * 2
        if first:
            assert schedules.phase(first - 1, section) == number - 1
            assert schedules.phase(first - 1e-9, section) == number - 1
    assert schedules.phase(10**6, section) == 4


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        (0, 1.0),  # cos(π/2) = 0
        (1, 0.99825 * (1 - 0.1 * math.sin(math.radians(12)))),  # 1 - 0.7/400, 12° an epoch
        (7.5, 0.986875 * 0.9),  # a quarter of the period: the trough
        (15, 0.97375),
        (22.5, 0.960625 * 1.1),  # the crest
        (30, 0.9475),
        (39, 0.93175 * (1 - 0.1 * math.sin(math.radians(108)))),
        (40, 0.93 * (1 - 0.1 * math.sin(math.radians(120)))),
        (120, 0.79),
        (249, 0.56425 * (1 - 0.1 * math.sin(math.radians(108)))),  # still 10 % of the base
        (250, 0.5625 - 0.5 * math.sin(math.radians(120))),  # now 0.5 of its own
        (251, 0.56075 - 0.5 * math.sin(math.radians(132))),
        (262.5, 0.540625 + 0.5),  # first crest of phase 4
        (277.5, 0.1),  # first trough: the formula alone gives 0.014375
        (367.5, 0.1),  # the formula alone gives -0.143
        (390, 0.3175),
        (399, 0.1),  # 0.30175 - 0.5·sin 108° < 0.1
        (400, 0.1),
        (412.5, 0.278125 + 0.5),  # beyond the end it goes on
        (1000, 0.1),
    ],
)
def test_tau_a(epoch, expected):
    assert schedules.tau_a(epoch, PRODUCTION) == exactly(expected)


@given(epochs)
def test_tau_a_stays_in_its_band(epoch):
    base = 1.0 - 0.7 * epoch / 400
    tau = schedules.tau_a(epoch, PRODUCTION)
    if epoch < 250:
        assert 0.9 * base - 1e-12 <= tau <= 1.1 * base + 1e-12
    else:
        assert 0.1 <= tau <= max(0.1, base + 0.5)


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [(0, 1.1), (7.5, 0.986875), (15, 0.97375 * 0.9), (30, 0.9475 * 1.1), (250, 0.3125), (255, 0.1), (270, 1.0275),
     (399, 0.30175 + 0.5 * math.cos(math.radians(108)))],
)  # fmt: skip
def test_tau_a_published_starts_at_the_crest(epoch, expected):
    # 250 is 120° into the period, 255 at its trough and floored, 270 at its crest
    assert schedules.tau_a(epoch, PUBLISHED) == exactly(expected)


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [(0, 0.9), (29, 0.9), (30, 0.9), (31, 0.89825), (120, 0.7425), (249, 0.51675), (250, 0.3), (251, 0.3), (399, 0.3), (400, 0.3),
     (5000, 0.3)],
)  # fmt: skip
def test_tau_b(epoch, expected):
    assert schedules.tau_b(epoch, PRODUCTION) == exactly(expected)
    assert schedules.tau_b(epoch, PUBLISHED) == exactly(expected)


@pytest.mark.parametrize(
    ("epoch", "expected"), [(0, 0.6), (1, 0.601), (40, 0.64), (120, 0.72), (250, 0.85), (399, 0.999), (400, 1.0), (500, 1.1)]
)
def test_beta(epoch, expected):
    assert schedules.beta_a(epoch, PRODUCTION) == exactly(expected)
    assert schedules.beta_b(epoch, PRODUCTION) == exactly(expected / math.sqrt(2))


@pytest.mark.parametrize(
    ("first", "before", "after"),
    [(50, 1e-3, 5e-4), (120, 5e-4, 3e-4), (180, 3e-4, 1e-4), (220, 1e-4, 5e-5), (250, 5e-5, 2e-5), (300, 2e-5, 1e-5), (350, 1e-5, 5e-6)],
)  # fmt: skip
def test_learning_rate_falls_at_each_milestone(first, before, after):
    rates = [schedules.learning_rate(first + step, PRODUCTION) for step in (-1, 0, 1)]
    assert rates == [before, after, after]


def test_learning_rate_at_the_start_and_beyond_the_end():
    assert [schedules.learning_rate(epoch, PRODUCTION) for epoch in (0, 399, 400, 10**6)] == [1e-3, 5e-6, 5e-6, 5e-6]


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        (0, 0.1), (1, 0.1), (39, 0.1), (40, 0.1), (41, 0.1025), (80, 0.2), (119, 0.2975), (120, 0.3 + INCREMENT),
        (121, 0.3 + 2 * INCREMENT), (184, 0.5), (248, 0.7 - INCREMENT), (249, 0.7), (250, 0.7), (251, 0.7), (399, 0.7), (400, 0.7),
        (450, 0.7),
    ],
)  # fmt: skip
def test_rho_while_the_gate_is_open(epoch, expected):
    assert walk(PRODUCTION, [OPEN] * (epoch + 1))[-1] == exactly(expected)


@pytest.mark.parametrize("section", [PRODUCTION, PUBLISHED], ids=["hold", "fall_back"])
def test_a_closed_gate_keeps_phase_3_at_its_start_and_nothing_else(section):
    open_, closed = walk(section, [OPEN] * 300), walk(section, [CLOSED] * 300)
    assert closed[120:250] == [0.3] * 130
    assert closed[:120] == open_[:120]
    assert closed[250:] == [0.7] * 50, "phase 4 sets 0.7 whatever the gate did"


def test_hold_counts_open_epochs_and_never_falls_back():
    ratios = [OPEN] * 150 + [CLOSED] * 20 + [OPEN] * 10
    rho = walk(PRODUCTION, ratios)
    assert rho[149] == exactly(0.3 + 30 * INCREMENT)
    assert rho[150:170] == [rho[149]] * 20
    assert rho[170] == exactly(0.3 + 31 * INCREMENT)
    assert rho[179] == exactly(0.3 + 40 * INCREMENT)


def test_fall_back_drops_while_closed_and_returns_to_the_time_line():
    ratios = [OPEN] * 150 + [CLOSED] * 20 + [OPEN] * 130
    rho = walk(PUBLISHED, ratios)
    assert rho[120:122] == exactly([0.3, 0.305])
    assert rho[149] == exactly(0.3 + 0.4 * 29 / 80)
    assert rho[150:170] == [0.3] * 20
    assert rho[170] == exactly(0.55)
    assert [rho[epoch] for epoch in (199, 200, 201, 249, 250)] == exactly([0.695, 0.7, 0.7, 0.7, 0.7])


@given(gates)
@settings(max_examples=30, deadline=None)
def test_hold_under_any_gate_pattern(pattern):
    rho = walk(PRODUCTION, [OPEN if is_open else CLOSED for is_open in pattern])
    assert all(later >= earlier for earlier, later in itertools.pairwise(rho)), "hold never falls"
    opened = sum(pattern[120:250])
    assert rho[249] == pytest.approx(min(0.7, 0.3 + opened * INCREMENT))


@given(gates)
@settings(max_examples=30, deadline=None)
def test_fall_back_under_any_gate_pattern(pattern):
    rho = walk(PUBLISHED, [OPEN if is_open else CLOSED for is_open in pattern])
    for epoch in range(120, 250):
        line = 0.3 + 0.4 * min(1, (epoch - 120) / 80)
        assert rho[epoch] == pytest.approx(line if pattern[epoch] else 0.3)


def test_a_falling_ramp_stops_at_its_target():
    section = load_config("configs/ternary_v5_5.yaml", {"schedules.rho.final": 0.1, "schedules.rho.ramp_epochs": 50}).schedules
    rho = walk(section, [OPEN] * 250)
    assert rho[120] == exactly(0.3 - 0.2 / 50)
    assert rho[200] == rho[249] == 0.1


@pytest.mark.parametrize(
    ("ratio", "is_open"),
    [(0.8, False), (math.nextafter(0.8, 1), True), (1.0, True), (math.nextafter(1.2, 1), True), (1.2, False), (0.0, False),
     (math.inf, False), (math.nan, False)],
)  # fmt: skip
def test_the_gate_excludes_both_bounds(ratio, is_open):
    assert schedules.in_balance(ratio, PRODUCTION) is is_open
    assert schedules.Permeability(PRODUCTION, rho=0.5).step(130, ratio) == exactly(0.5 + INCREMENT * is_open)


def test_a_new_permeability_starts_where_the_schedule_does():
    assert schedules.Permeability(PRODUCTION).rho == PRODUCTION.rho.start
    assert schedules.Permeability(PRODUCTION, rho=0.0).rho == 0.0


def test_a_resumed_permeability_goes_on_as_if_never_interrupted():
    ratios = [CLOSED if epoch % 3 else OPEN for epoch in range(200)]
    whole = walk(PRODUCTION, ratios)
    resumed = schedules.Permeability(PRODUCTION, rho=whole[139])
    assert [resumed.step(epoch, ratios[epoch]) for epoch in range(140, 200)] == whole[140:]


@pytest.mark.parametrize(
    ("epoch", "expected"), [(0, 0.3), (7.5, 0.15), (15, 0.3), (22.5, 0.45), (250, 0.3 - 0.15 * math.sin(math.radians(120)))]
)
def test_lambda_3_cycles_only_where_it_is_published(epoch, expected):
    assert schedules.lambda_3(epoch, PUBLISHED) == exactly(expected)
    assert schedules.lambda_3(epoch, PRODUCTION) is None


def test_the_fast_configuration_is_a_quarter_of_production():
    assert schedules.tau_a(5, FAST) == exactly(schedules.tau_a(20, PRODUCTION))
    assert schedules.beta_a(25, FAST) == exactly(schedules.beta_a(100, PRODUCTION))
    assert schedules.tau_b(20, FAST) == exactly(schedules.tau_b(80, PRODUCTION))
    assert walk(FAST, [OPEN] * 62)[29:] == exactly([0.29, *(0.3 + 0.4 * (k + 1) / 32 for k in range(32))])


# What the page in the browser does: the module alone, no package installed, sections read by attribute.
ALONE = """
import importlib.util, json, sys
from types import SimpleNamespace
spec = importlib.util.spec_from_file_location("schedules", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
def section(value):
    return SimpleNamespace(**{k: section(v) for k, v in value.items()}) if isinstance(value, dict) else value
s = section(json.loads(sys.argv[2]))
permeability = module.Permeability(s)
rows = [[module.phase(t, s), module.tau_a(t, s), module.tau_b(t, s), module.beta_a(t, s), module.beta_b(t, s),
         module.learning_rate(t, s), module.lambda_3(t, s), permeability.step(t, 1.0 if t % 3 else 2.0)] for t in range(410)]
foreign = sorted({name.split(".")[0] for name in sys.modules} - set(sys.stdlib_module_names) - {"__main__", "schedules"})
print(json.dumps({"rows": rows, "foreign": foreign}))
"""


@pytest.mark.parametrize("name", ["ternary_v5_5", "ternary_v5_5_published"])
def test_the_module_runs_on_the_standard_library_alone(name):
    config = load_config(f"configs/{name}.yaml").schedules
    given_ = json.dumps(config.model_dump(mode="json"))
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", ALONE, schedules.__file__, given_], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["foreign"] == []
    permeability = schedules.Permeability(config)
    for t, row in enumerate(answer["rows"]):
        here = [f(t, config) for f in (schedules.phase, schedules.tau_a, schedules.tau_b, schedules.beta_a, schedules.beta_b)]
        here += [schedules.learning_rate(t, config), schedules.lambda_3(t, config), permeability.step(t, 1.0 if t % 3 else 2.0)]
        assert row == here


def test_sections_are_read_by_attribute():
    plain = SimpleNamespace(total_epochs=100, beta=SimpleNamespace(start=0.0, end=2.0, lag=math.pi / 6))
    assert schedules.beta_a(25, plain) == 0.5
    assert schedules.beta_b(25, plain) == pytest.approx(0.25)
