"""The pictures of the way to the limit draw the records' numbers and say them."""

import pytest

from ternary_lib.coverage import efficiency
from ternary_lib.figures import figure_html
from ternary_lib.limit_figures import course, trade

pytestmark = pytest.mark.usefixtures("styled")


def record(tau=0.4, beta=0.8, counts=(15_000, 18_000), rate=4.0, distortion=16.0, kl=0.002):
    """What the pictures read of a run record."""
    final = {"rate": rate, "distortion": distortion, "kl_to_uniform": kl}
    return {
        "config": {"schedules": {"tau_a": {"start": tau}, "beta": {"end": beta}}},
        "final": {"a": final, "b": final | {"rate": rate + 1}},
        "history": {"epoch": [9, 19], "a.coverage.argmax.50000": list(counts), "b.coverage.argmax.50000": list(counts)},
    }


def test_the_course_is_the_mean_over_seeds_within_their_range():
    runs = {"v6": {0: record(counts=(15_000, 18_000)), 1: record(counts=(16_000, 18_100))}, "off": {0: record()}}
    picture = course(runs, ["v6", "off"], {"v6": "version 6"})
    low, high = efficiency(15_000 / 19_683, 50_000), efficiency(16_000 / 19_683, 50_000)
    first = next(row for row in picture.data if (row["variant"], row["pathway"], row["epoch"]) == ("v6", "a", 9))
    assert (first["low"], first["high"]) == (pytest.approx(low), pytest.approx(high))
    assert first["mean"] == pytest.approx((low + high) / 2)
    assert len(picture.data) == 2 * 2 * 2
    end = (efficiency(18_000 / 19_683, 50_000) + efficiency(18_100 / 19_683, 50_000)) / 2
    assert f"version 6 A {end:.3f}" in picture.alt and "off B" in picture.alt
    assert figure_html(name="x", caption="y", **picture._asdict()).startswith("<figure")


def test_the_trade_is_a_line_a_temperature_and_pathway_in_the_order_of_beta():
    runs = {
        "high": {0: record(beta=1.2, rate=2.0), 1: record(beta=1.2, rate=4.0)},
        "low": {0: record(beta=0.2, rate=8.0)},
        "noisy": {0: record(tau=1.0, beta=0.8, distortion=3.0)},
    }
    picture = trade(runs)
    rows = [(row["tau"], row["beta"], row["pathway"], row["rate"]) for row in picture.data]
    along_beta = [(0.4, 0.2, "a", 8.0), (0.4, 1.2, "a", 3.0), (0.4, 0.2, "b", 9.0), (0.4, 1.2, "b", 4.0)]
    assert rows == [*along_beta, (1.0, 0.8, "a", 4.0), (1.0, 0.8, "b", 5.0)]
    assert "τ 1, β 0.8, A: 4.00, 3.00, 0.0020" in picture.alt
    assert len(picture.fig.axes) == 2 and picture.fig.axes[1].get_yscale() == "log"
