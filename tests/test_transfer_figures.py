"""Verdicts over seeds and pictures of fine-tuning against numbers made by hand."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from ternary_lib.comparison import summary
from ternary_lib.transfer_figures import Panel, Verdict, judge, losses, trends


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_a_verdict_tells_means_from_intervals():
    assert judge([[0.10, 0.11, 0.12], [0.2, 0.3, 0.25]]) == (True, True)
    assert judge([[0.10, 0.11, 0.12], [0.3, -0.2, 0.2]]) == (True, False)
    assert judge([[0.10, 0.11, 0.12], [-0.3, -0.2, -0.25]]) == (False, True)
    assert judge([[0.10, 0.11, 0.12], [-0.3, 0.2, 0.05]]) == (False, False)
    assert judge([np.zeros(3)]) == (False, False), "a bar is to be passed"
    words = [str(Verdict(*pair)) for pair in ((True, True), (True, False), (False, True), (False, None), (None, None))]
    assert words[0] == "holds" and words[1].startswith("holds on the mean alone") and words[2] == words[3] == "fails"
    assert words[4] == "is not tested at this size"


def test_trends_say_where_lines_begin_and_end():
    found = [summary([0.1, 0.2]), summary([0.5, 0.7])]
    panels = [Panel([1, 10], ["0", "10"], {("precision", "a"): found, ("recall", "b"): found[::-1]}, "commutative")]
    picture = trends(panels, 1, (5, 3), "steps", logarithmic=True)
    assert "Commutative: precision of A 15% at 0 and 60% at 10; recall of B 60% at 0 and 15% at 10." in picture.alt
    assert [row["mean"] for row in picture.data] == pytest.approx([0.15, 0.6, 0.6, 0.15]) and picture.data[0]["panel"] == "commutative"


def test_trends_of_several_panels_name_the_axis_once_a_column():
    panel = Panel([1, 2], ["1", "2"], {("precision", "a"): [summary([0.1, 0.2])] * 2}, "associative", "share")
    axes = trends([panel] * 4, 2, (5, 3), "steps").fig.axes
    assert [ax.get_xlabel() for ax in axes] == ["", "", "steps", "steps"]
    assert [ax.get_ylabel() for ax in axes] == ["share", "", "share", ""]
    assert axes[0].get_xscale() == "linear"


def test_losses_are_means_of_windows():
    picture = losses({("ce", "trained", "a"): [4.0, 2.0, 1.0, 3.0, 9.0], ("kl", "untrained", "b"): [0.0, 1.0, 2.0, 3.0, 9.0]}, 2)
    assert [(row["step"], row["nats"]) for row in picture.data] == [(1, 3), (3, 2), (1, 0.5), (3, 2.5)]
    assert "cross-entropy (nats) of A, trained: 3.00 at first and 2.00 at the end" in picture.alt
    taller = losses({("ce", start, "a"): [size] * 4 for start, size in (("trained", 1.0), ("untrained", 50.0))}, 2)
    assert taller.fig.axes[0].get_ylim()[1] > 50, "no curve is cut off"
