"""Shared by all tests, the notebooks' included: which of them run in one process, and on how many threads."""

import pytest


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """With several workers, keep each file together, and all notebooks in one: they train and read the same runs."""
    for item in items:
        group = "notebooks" if item.path.suffix == ".ipynb" else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="module")
def one_thread():
    """For tests of small tensors: threads would only wait for each other, above all beside other tests."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def styled():
    """The book's style while a test draws, and no figure left open after it."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    from ternary_lib import figures

    with matplotlib.rc_context():
        figures.style()
        yield
        plt.close("all")
