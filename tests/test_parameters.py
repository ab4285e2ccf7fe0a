"""A chapter's parameters are refused in one line, and before any work."""

from pathlib import Path

import pytest

from ternary_lib import cli, notebooks
from ternary_lib.config import InputError
from ternary_lib.parameters import require_list

BAD = [
    ("09_latent_space", key, value)
    for key, value in (("noises", [0.1]), ("noises", [0.0, -0.1]), ("noises", []), ("draws", 10))
] + [
    ("10_transfer", key, value)
    for key, value in (
        ("marks", [5]), ("marks", [0, 20, 10]), ("marks", [1, 2, 3]), ("seeds", [1]), ("seeds", [1, 1]), ("shares", []),
        ("shares", [0.0, 0.5]), ("shares", [1.0]), ("replays", [1.5]), ("replays", [0.1, 0.101]), ("betas", [-1.0]),
        ("share", 1.0), ("draws", 1_000), ("apart", 0),
    )
]  # fmt: skip


def checks_of(name):
    """The parameters cell and, of the set-up, everything before the clock starts."""
    cells = {cell["id"]: cell["source"] for cell in notebooks._cells(notebooks.find_notebook(name))}
    head, clock, _ = cells["setup"].partition("started = time.perf_counter()")
    assert clock
    return cells["parameters"], head


@pytest.mark.parametrize("name", ["09_latent_space", "10_transfer"])
def test_defaults_and_sizes_of_the_book_are_accepted(name):
    parameters, head = checks_of(name)
    folder = Path("configs/papermill")
    for file in (None, folder / f"{name}.production.yaml"):
        values = {}
        exec(parameters, values)
        exec(head, values | (notebooks.collect_parameters([str(file)], [], []) if file else {}))


@pytest.mark.parametrize(("name", "key", "value"), BAD)
def test_a_bad_list_or_number_is_named_before_any_work(name, key, value):
    parameters, head = checks_of(name)
    values = {}
    exec(parameters, values)
    with pytest.raises(InputError, match=f"parameter '{key}': expected ") as error:
        exec(head, values | {key: value})
    assert "\n" not in str(error.value)


def test_the_command_ends_with_status_two_and_one_line(tmp_path, capsys):
    assert cli.main(["notebook", "10", "-p", "marks", "[5]", "--output", str(tmp_path / "out.ipynb")]) == 2
    error = capsys.readouterr().err.strip()
    assert error.splitlines()[-1].startswith("error: 10_transfer: parameter 'marks': expected three or more steps") and "got [5]" in error
    assert list(tmp_path.iterdir()) == []


def test_lists_by_hand():
    require_list("marks", [0, 10], 2, 0, 20, "", rising=True)
    for values in ([0], [0, 30], [0, 0], [10, 0]):
        with pytest.raises(InputError, match="marks"):
            require_list("marks", values, 2, 0, 20, "", rising=True)
    require_list("marks", [10, 0], 2, 0, 20, "")
