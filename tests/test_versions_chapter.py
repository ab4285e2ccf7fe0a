"""Chapter 07 run through papermill with a pair of configurations that is not its own."""

import json

import nbformat
import pytest
from micro import OVERRIDES

from ternary_lib import comparison, notebooks, sweeps

PAIR = {"config": "configs/smoke.yaml", "other": "configs/ladder/v5_1.yaml", "overrides": OVERRIDES, "other_overrides": OVERRIDES}


def execute(folder, **more):
    """The executed chapter's outputs as one text."""
    source, out = notebooks.find_notebook("07_versions"), folder / "out.ipynb"
    values = {**PAIR, "seeds": [0, 1], "store": str(folder / "store"), "known_draws": 20_000, **more}
    notebooks.execute(source, out, notebooks.check_parameters(source, values))
    cells = nbformat.read(out, as_version=4).cells
    return "\n".join(json.dumps(output, ensure_ascii=False) for cell in cells if cell.cell_type == "code" for output in cell.outputs)


def test_another_pair_is_trained_once_and_compared(tmp_path):
    text = execute(tmp_path, run_dir=str(tmp_path / "kept"))
    assert "4 of 4 runs recorded, 4 of them now" in text and "statenet.signal" not in PAIR["overrides"]
    tasks = sweeps.of_configs([PAIR["config"], PAIR["other"]], [0, 1], [OVERRIDES, OVERRIDES])
    table = comparison.by_variant(sweeps.stored(task, tmp_path / "store") for task in tasks)
    kept = json.loads((tmp_path / "kept" / "comparison.json").read_text())
    assert (kept["reference"], kept["other"]) == tuple(table)
    (expected,) = (r for r in comparison.differences(table, kept["reference"], ["exact_test"]) if r.pathway == "a")
    (got,) = (r for r in kept["differences"] if (r["pathway"], r["metric"]) == ("a", "exact_test"))
    assert (got["mean"], got["low"], got["high"]) == (expected.mean, expected.low, expected.high)
    assert "schedules.rho.final" in text  # among what the two differ in
    assert "0 of them now" in execute(tmp_path)


def test_a_configuration_against_itself_is_refused(tmp_path):
    with pytest.raises(notebooks.NotebookError, match="the same configuration"):
        execute(tmp_path, other=PAIR["config"])
