"""What pictures of latent space say of themselves: their alt texts name the numbers drawn, whatever these are."""

import matplotlib.pyplot as plt
import pytest
import torch
from lines import SPACING, line_codes

from ternary_lib import latent, latent_figures, mechanism
from ternary_lib.figures import figure_html
from ternary_lib.relabelling import GROUP

PARTS = ("measured", "lines", "lines_and_scatter")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_every_picture_can_be_shown():
    codes = line_codes()
    found = mechanism.axes(codes.mu)
    share, reach = latent.explained(codes.mu), torch.linspace(-3, 3, 25)
    decoded = latent.traverse(codes, torch.zeros(16), reach)[found.axis, :, torch.arange(9)]
    r2 = {p: [1.0 if g.linear else 0.25 for g in GROUP] for p in "ab"}
    pictures = [
        latent_figures.axes_maps({"a": found, "b": found}, {"a": share, "b": share}, {"a": share, "b": share}),
        latent_figures.traversals({"from z = 0": decoded}, reach),
        latent_figures.prior_panels({3: {"a": latent.density(codes, 0, reach)}}, reach, "axis"),
        latent_figures.noise_panels([0.0, 0.1], {(3, "a"): {part: [1.0, 0.5] for part in PARTS}}),
        latent_figures.relabelling_dots(r2, r2, r2),
    ]
    for k, picture in enumerate(pictures):
        assert picture.alt[:40] in figure_html(picture.fig, f"picture-{k}", "words", picture.alt, picture.data)


def test_maps_say_how_dark_the_diagonal_is():
    mu = line_codes().mu
    mixed = mu.clone()
    mixed[:, 0] += 0.5 * mu[:, 1]  # dimension 0 leans towards entry 1
    for code, least, stray in ((mu, "1.00 to 1.00", "at most 0.00"), (mixed, "0.80 to 1.00", "at most 0.20")):
        maps = latent_figures.axes_maps({"a": mechanism.axes(code)}, {"a": latent.explained(code)}, {"a": latent.explained(code)})
        assert f"A, η²: {least} on an entry's own axis, {stray} in any other cell" in maps.alt


def test_traversals_say_what_is_in_order():
    decoded = torch.tensor([[-1, -1, 0, 1, 1]] * 7 + [[1, 0, 0, 0, -1], [-1, 1, 0, -1, 1]])
    alt = latent_figures.traversals({"from here": decoded}, torch.linspace(-1, 1, 5)).alt
    assert "from here, 8 of 9 go through the three colours in order, and the grey zones are 0.50 to 1.50 wide" in alt
    assert "0 of 9" in latent_figures.traversals({"": torch.zeros(9, 5, dtype=torch.long)}, torch.linspace(-1, 1, 5)).alt


def test_noise_panels_read_noises_in_order():
    alt = latent_figures.noise_panels(
        [0.4, 0.0], {(7, "b"): {"measured": [0.1, 0.9], "lines": [0.3, 0.9], "lines_and_scatter": [0.1, 0.9]}}
    ).alt
    assert "B, epoch 7: 90% at 0 to 10% at 0.4, lines off by at most 0.20, with scatter 0.00" in alt


def test_dots_say_both_sides_of_the_line():
    r2, masses = [1.0 if g.linear else 0.3 for g in GROUP], [0.9 if g.linear else -0.4 for g in GROUP]
    picture = latent_figures.relabelling_dots({"a": r2}, {"a": [0.8] * 12}, {"a": masses})
    assert "on active dimensions 1.00 to 1.00 above the line and 0.30 to 0.30 below" in picture.alt
    assert "masses: 0.90 to 0.90 above the line and −0.40 to −0.40 below" in picture.alt and len(picture.data) == 12


def test_density_of_lines():
    values = torch.linspace(-6, 6, 2_401)
    found = latent.density(line_codes(variance=0.01), 4, values)
    assert float(found.sum() * 0.005) == pytest.approx(1, abs=1e-3)
    assert abs(float(values[found.argmax()])) == pytest.approx(SPACING, abs=0.01) or abs(float(values[found.argmax()])) < 0.01
