"""Shared by all tests, the notebooks' included: which of them run in one process."""

import pytest


def pytest_collection_modifyitems(items):
    """With several workers, keep each file together, and all notebooks in one: they train and read the same runs."""
    for item in items:
        group = "notebooks" if item.path.suffix == ".ipynb" else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
