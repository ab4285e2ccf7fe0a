"""Figures of comparisons: what is clear is told without colour, scales fit effects of every size, rows keep their order."""

import matplotlib

matplotlib.use("agg")
import pytest

from ternary_lib import comparison_figures as drawn
from ternary_lib import figures
from ternary_lib.comparison import Difference
from ternary_lib.figures import COLOURS

pytestmark = pytest.mark.usefixtures("styled")


def difference(variant, pathway, mean, half, p=0.5, metric="late_efficiency"):
    return Difference(variant, pathway, metric, 5, mean, mean - half, mean + half, 1.0, p, p)


ROWS = [
    difference("zebra", "a", 0.01, 0.02),
    difference("zebra", "b", -0.9, 0.01, p=0.001),
    difference("ape", "a", 0.02, 0.03),
    difference("ape", "b", 0.00, 0.02),
]


def marks(ax):
    """(x, y, shape, filled, colour) of every mark."""
    lines = [line for line in ax.get_lines() if line.get_marker() in drawn.MARKS.values()]
    where = [(line.get_xdata()[0], line.get_ydata()[0]) for line in lines]
    look = [(line.get_marker(), line.get_markerfacecolor() != "none", line.get_color()) for line in lines]
    return [(*xy, *rest) for xy, rest in zip(where, look, strict=True)]


def test_a_row_each_variant_in_the_given_order_with_its_seeds():
    ax = drawn.forest(ROWS, {"zebra": "the zebra"}, ["late_efficiency"]).axes[0]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["the zebra (5)", "ape (5)"]
    assert ax.yaxis_inverted()
    assert [round(y) for _, y, *_ in marks(ax)] == [0, 0, 1, 1]


def test_clear_is_a_filling_and_pathway_a_shape():
    found = marks(drawn.forest(ROWS, {}, ["late_efficiency"]).axes[0])
    assert [filled for *_, filled, _ in found] == [False, True, False, False]
    assert [shape for _, _, shape, *_ in found] == ["o", "s", "o", "s"]
    assert {colour for *_, colour in found} == {COLOURS["a"], COLOURS["b"]}


def test_effects_of_every_size_are_told_apart():
    """Noise of 0.02 beside an effect of 0.9: logarithmic, linear near zero, and both sides within the panel."""
    ax = drawn.forest(ROWS, {}, ["late_efficiency"]).axes[0]
    assert ax.get_xscale() == "symlog"
    low, high = ax.get_xlim()
    assert low == -high and low < -0.9
    assert {text.get_text() for text in ax.get_xticklabels()} >= {"0", "0.01", "−0.01"}
    alike = [difference(v, "a", mean, 0.02) for v, mean in (("x", 0.01), ("y", 0.05))]
    assert drawn.forest(alike, {}, ["late_efficiency"]).axes[0].get_xscale() == "linear"
    assert drawn.forest(ROWS, {}, ["late_efficiency"], logarithmic=False).axes[0].get_xscale() == "linear"


@pytest.mark.parametrize(("halves", "expected"), [([0.5, 0.02, 0.03], 0.01), ([0.02, 0.04, 0.5], 0.1), ([0.0, 0.0], 1.0), ([], 1.0)])
def test_the_linear_part_is_as_wide_as_a_typical_interval(halves, expected):
    """The power of ten that is nearest, by ratio, to the median half width: the border is 0.0316, 0.1/√10."""
    rows = [difference("x", "a", 0.0, half) for half in halves]
    assert drawn.threshold(rows) == pytest.approx(expected)


def test_an_interval_that_leaves_the_panel_ends_in_arrows():
    fig = drawn.forest([difference("x", "a", 0.1, 40.0), difference("x", "b", 0.1, 0.1)], {}, ["late_efficiency"])
    assert [line.get_marker() for line in fig.axes[0].get_lines() if line.get_marker() in "<>"] == ["<", ">"]
    assert fig.axes[0].get_xlim()[1] < 5


def test_a_panel_says_which_side_is_better():
    rows = [difference("x", "a", 0.1, 0.1, metric=m) for m in ("late_efficiency", "kl_to_uniform", "rate")]
    fig = drawn.forest(rows, {}, ["late_efficiency", "kl_to_uniform", "rate"])
    assert [ax.get_title() for ax in fig.axes] == ["better →", "← better", ""]
    assert fig.axes[1].get_xlabel().endswith("(nats)")


def test_levels_show_every_seed_and_an_interval_where_there_is_one():
    def record(value):
        return {"final": {"a": {"exact_test": value}, "b": {"exact_test": value}}}

    table = {"x": {0: record(0.1), 1: record(0.3)}, "y": {0: record(0.2)}}
    ax = drawn.levels(table, ["x", "y"], {"x": "first"}, ["exact_test"]).axes[0]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["first", "y"]
    dots = [line for line in ax.get_lines() if line.get_marker() == "."]
    bars = [line for line in ax.get_lines() if line.get_marker() == "None"]
    assert sum(len(line.get_xdata()) for line in dots) == 6 and len(bars) == 2  # two pathways; one seed has no interval


def test_the_download_says_what_is_clear():
    rows = drawn.rows_of(ROWS)
    assert [row["clear"] for row in rows] == [False, True, False, False]
    assert rows[1]["variant"] == "zebra" and rows[1]["mean"] == -0.9


def test_a_forest_can_be_shown():
    fig = drawn.forest(ROWS, {}, ["late_efficiency"])
    assert 'id="fig-forest"' in figures.figure_html(fig, "forest", "A forest.", "Marks with intervals.", drawn.rows_of(ROWS))
