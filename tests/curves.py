"""Curves read back from the explorer's drawings, and how far they may lie from the library's values."""

import itertools
import re

from ternary_lib import explorer_svg as drawing
from ternary_lib.schedules import Permeability


def plotted(svg, key, top, epochs=400, total=None):
    """Read a curve back: its value at every epoch (of `total` on the axis), interpolated between the points that the path keeps."""
    data = re.search(rf"data-curve='{key}' d='M(\d+) (\d+)l([^']*)'", svg)
    numbers = [int(n) for n in re.findall(r"-?\d+", data.group(3))]
    points = [(int(data.group(1)), int(data.group(2)))]
    for dx, dy in zip(numbers[::2], numbers[1::2], strict=True):
        points.append((points[-1][0] + dx, points[-1][1] + dy))
    values = []
    for t in range(epochs):
        x = drawing.x_of(t, total or epochs)
        (x0, y0), (x1, y1) = next((a, b) for a, b in itertools.pairwise(points) if a[0] <= x <= b[0])
        y = y0 + (y1 - y0) * (x - x0) / (x1 - x0)
        values.append((drawing.BOTTOM - y) / (drawing.BOTTOM - drawing.TOP) * top)
    return values


def close(got, expected, top):
    """One unit of thinning and half of rounding, on an axis of 1280 units."""
    return max(abs(g - e) for g, e in zip(got, expected, strict=True)) <= 2 / (drawing.BOTTOM - drawing.TOP) * top


def permeability(schedules, ratios):
    rho = Permeability(schedules)
    return [rho.step(t, ratios[t]) for t in range(schedules.total_epochs)]
