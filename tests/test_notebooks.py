"""The notebooks' form, and the strict way of running one."""

from __future__ import annotations

import ast
import io
import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from ternary_lib import cli, notebooks
from ternary_lib.config import PROJECT_ROOT, ConfigError
from ternary_lib.terminal import Relay

SOURCES = notebooks.list_notebooks()
COMMON = ["config", "overrides", "seed", "run_dir"]
SIZES = sorted(p for p in (PROJECT_ROOT / "configs" / "papermill").glob("*.yaml"))
PARAMETERS = 'config = "configs/smoke.yaml"  # file\nseed = 42  # seed\nrate = 0.5  # a rate\nfast = True\nseeds = [1, 2]\noverrides = {}\n'


def write_notebook(path: Path, *cells: str, parameters: str = "seed = 42  # seed\n") -> Path:
    """A small notebook with a parameters cell and code cells."""
    made = new_notebook(
        cells=[new_markdown_cell("# A chapter"), new_code_cell(parameters, metadata={"tags": ["parameters"]}), *map(new_code_cell, cells)],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(made, path)
    return path


@pytest.fixture
def sample(tmp_path):
    return write_notebook(tmp_path / "07_sample.ipynb", "print(seed)", parameters=PARAMETERS)


# The form of the source notebooks


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
class TestForm:
    def test_valid_with_stable_ids_and_kernel(self, path):
        raw = json.loads(path.read_text(encoding="utf-8"))
        nbformat.validate(raw)
        assert (raw["nbformat"], raw["nbformat_minor"]) == (4, 5)
        assert raw["metadata"]["kernelspec"]["name"] == "python3"
        ids = [cell["id"] for cell in raw["cells"]]
        assert len(set(ids)) == len(ids)

    def test_outputs_are_stripped(self, path):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                assert cell.outputs == [] and cell.execution_count is None
            assert not {"papermill", "execution", "ExecuteTime"} & cell.metadata.keys()

    def test_parameters_cell_holds_commented_literals(self, path):
        known = notebooks.read_parameters(path)
        assert [name for name in COMMON if name not in known] == []
        assert [p.name for p in known.values() if not p.help] == []

    def test_defaults_are_the_small_run(self, path):
        assert notebooks.read_parameters(path)["config"].default == "configs/smoke.yaml"

    def test_papermill_sees_the_same_parameters(self, path):
        import papermill

        seen = papermill.inspect_notebook(str(path))
        assert list(seen) == list(notebooks.read_parameters(path))
        for name, parameter in seen.items():  # what `papermill --help-notebook` prints
            kind = type(notebooks.read_parameters(path)[name].default).__name__
            assert parameter["inferred_type_name"].split("[")[0] == kind and len(parameter["help"]) > 8, name

    def test_papermill_takes_what_a_user_types(self, path, tmp_path, caplog):
        import papermill

        given = {"config": "configs/ternary_v5_5_fast.yaml", "seed": 7}
        made = papermill.execute_notebook(str(path), str(tmp_path / "out.ipynb"), given, prepare_only=True, progress_bar=False)
        injected = [cell.source for cell in made.cells if "injected-parameters" in cell.metadata.get("tags", [])]
        assert len(injected) == 1 and "seed = 7" in injected[0]
        assert "unknown parameter" not in caplog.text

    @pytest.mark.parametrize("size", SIZES, ids=lambda p: p.stem)
    def test_every_parameter_file_fits(self, path, size):
        name, _, _ = size.stem.partition(".")
        if name in {"production", "fast", "smoke", path.stem}:
            notebooks.check_parameters(path, notebooks.collect_parameters([str(size)], [], []))
        assert size.stem.split(".")[-1] in {"production", "fast", "smoke"}

    def test_code_parses(self, path):
        faults = []
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                try:
                    ast.parse("\n".join(line for line in cell.source.splitlines() if not line.startswith(("%", "!"))))
                except SyntaxError as error:
                    faults.append(f"{cell.id}: {error}")
        assert faults == []


# Finding one


@pytest.mark.parametrize("name", ["07_sample", "sample", "07", "7", "07_sample.ipynb"])
def test_a_notebook_is_found_by_number_title_or_name(sample, name):
    assert notebooks.find_notebook(name, sample.parent) == sample


def test_a_path_is_taken_as_it_is(sample):
    assert notebooks.find_notebook(str(sample)) == sample


def test_an_unknown_notebook_is_refused_with_the_nearest_name(sample):
    with pytest.raises(ConfigError, match="did you mean '07_sample'"):
        notebooks.find_notebook("07_sampel", sample.parent)


# Parameters


def test_parameters_are_read_with_defaults_and_comments(sample):
    known = notebooks.read_parameters(sample)
    assert list(known) == ["config", "seed", "rate", "fast", "seeds", "overrides"]
    assert known["seed"] == notebooks.Parameter("seed", 42, "seed")


ODD_CODE = ["a = [1, {", "a = '''", "a = {[]: 1}", "a = " + "(" * 400, "a = " + "-" * 5000 + "1", "\\", "a = 1\0"]


@pytest.mark.parametrize("source", ["a = 1\nprint(a)", "a = b", "import os", "a, b = 1, 2", "a = 1 +", *ODD_CODE])
def test_a_parameters_cell_with_more_than_literals_is_refused(tmp_path, source):
    path = write_notebook(tmp_path / "x.ipynb", parameters=source)
    with pytest.raises(ConfigError, match="literal assignments"):
        notebooks.read_parameters(path)


def test_a_notebook_without_a_parameters_cell_is_refused(tmp_path):
    path = tmp_path / "x.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("a = 1")]), path)
    with pytest.raises(ConfigError, match="found 0"):
        notebooks.read_parameters(path)


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"nbformat": 4}', "[1]"])
def test_what_is_no_notebook_is_refused(tmp_path, content):
    path = tmp_path / "x.ipynb"
    path.write_text(content)
    with pytest.raises(ConfigError):
        notebooks.read_parameters(path)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("cells", [1]), ("cells", {}), ("metadata", None), ("source", [[]]), ("source", 5), ("tags", 5), ("tags", "parameters"),
        ("nbformat", "4"),
    ],
)  # fmt: skip
def test_parts_of_another_type_are_refused_in_one_line(sample, part, value):
    made = json.loads(sample.read_text())
    cell = made["cells"][1]
    place = {"cells": made, "nbformat": made, "tags": cell["metadata"]}.get(part, cell)
    place[part] = value
    sample.write_text(json.dumps(made))
    with pytest.raises(ConfigError, match=r"^[^\n]*07_sample.ipynb: not a notebook: [^\n]+$"):
        notebooks.read_parameters(sample)


@pytest.mark.filterwarnings("error")
def test_cells_of_one_id_are_no_reason_to_warn(sample):
    made = json.loads(sample.read_text())
    for cell in made["cells"]:
        cell["id"] = "same"
    sample.write_text(json.dumps(made))
    assert notebooks.read_parameters(sample)["seed"].default == 42


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("seed", "7", 7),
        ("rate", "1e-3", 0.001),
        ("rate", "2", 2),
        ("fast", "false", False),
        ("seeds", "[3]", [3]),
        ("overrides", "{schedules.total_epochs: 20}", {"schedules.total_epochs": 20}),
        ("config", "configs/ternary_v5_5_fast.yaml", "configs/ternary_v5_5_fast.yaml"),
    ],
)
def test_values_of_the_right_type_pass(sample, name, text, value):
    given = notebooks.collect_parameters([], [], [(name, text)])
    assert notebooks.check_parameters(sample, given) == {name: value}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("sed", "7", "unknown parameter 'sed'.*did you mean 'seed'"),
        ("seed", "seven", "'seed' must be a whole number, got 'seven'"),
        ("seed", "7.5", "whole number"),
        ("seed", "true", "whole number"),
        ("seed", "1e-3", "whole number"),
        ("seed", "", "got None .nothing."),
        ("rate", "fast", "must be a number"),
        ("fast", "1", "true or false"),
        ("seeds", "3", "a list"),
        ("seeds", "[a]", "a list"),
        ("config", "5", "quote it"),
        ("overrides", "[1]", "a mapping"),
        ("overrides", "{schedules.total_epoch: 20}", "total_epoch"),
        ("config", "configs/smok.yaml", "did you mean 'configs/smoke.yaml'"),
        ("seed", "-1", "seed"),
        ("seed", "[", "not readable as YAML"),
        ("seed", "x" * 5000, "got 'xxx"),
        ("x" * 5000, "1", "unknown parameter 'xxx"),
    ],
    ids=lambda text: text[:30],
)
def test_anything_else_is_refused_in_one_line(sample, name, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        notebooks.check_parameters(sample, notebooks.collect_parameters([], [], [(name, text)]))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_single_values_win_over_yaml_texts_and_those_over_files(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text("seed: 1\nrate: 1e-2\nfast: true\n")
    merged = notebooks.collect_parameters([str(file)], ["{seed: 2, rate: 0.2}"], [("seed", "3")])
    assert merged == {"seed": 3, "rate": 0.2, "fast": True}


# The command


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["99_none"], "does not exist"),
        (["{sample}", "-p", "sed", "7"], "did you mean 'seed'"),
        (["{sample}", "-y", "7"], "expected a mapping"),
        (["{sample}", "-f", "none.yaml"], "none.yaml"),
        (["{sample}", "--output", "out.txt"], "ending in .ipynb"),
        (["{sample}", "--output", "{sample}"], "overwrite the source"),
    ],
)
def test_a_mistake_gives_one_line_and_status_2(sample, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    status = cli.main(["notebook", *(text.format(sample=sample) for text in arguments)])
    error = capsys.readouterr().err
    assert status == 2 and words in error
    assert error.count("\n") == 1 and "Traceback" not in error
    assert sorted(tmp_path.iterdir()) == before


def test_without_a_name_it_lists_notebooks_and_parameters(capsys):
    assert cli.main(["notebook"]) == 0
    listed = capsys.readouterr().out
    assert all(path.stem in listed for path in SOURCES) and "seed = 42" in listed


def test_it_runs_with_the_given_values(sample, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["notebook", str(sample), "-p", "seed", "7"]) == 0
    made = nbformat.read(tmp_path / "07_sample-executed.ipynb", as_version=4)
    assert made.cells[-1].outputs[0].text == "7\n"
    assert "07_sample-executed.ipynb" in capsys.readouterr().out
    assert not list(tmp_path.glob(".running-*"))


def test_a_failing_cell_leaves_no_output_and_is_named(tmp_path, monkeypatch, capsys):
    path = write_notebook(tmp_path / "08_bad.ipynb", "print('here')", "total = 1 / 0  # it fails")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["notebook", str(path), "--output", "out.ipynb"]) == 1
    error = capsys.readouterr().err
    assert "08_bad" in error and "total = 1 / 0" in error and "ZeroDivisionError: division by zero" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out.ipynb").exists()
    assert (tmp_path / "out-failed.ipynb").exists() and not list(tmp_path.glob(".running-*"))


def test_what_is_there_already_stays_where_a_cell_fails(tmp_path, monkeypatch, capsys):
    path = write_notebook(tmp_path / "08_bad.ipynb", "print('here')", "total = 1 / 0  # it fails")
    monkeypatch.chdir(tmp_path)
    for name in ("out.ipynb", "out-failed.ipynb"):
        Path(name).write_text("mine")
    assert cli.main(["notebook", str(path), "--output", "out.ipynb"]) == 1
    assert Path("out.ipynb").read_text() == Path("out-failed.ipynb").read_text() == "mine"
    assert Path("out-failed-2.ipynb").is_file() and "out-failed-2.ipynb" in capsys.readouterr().err


def test_a_kernel_that_dies_leaves_no_output(tmp_path):
    path = write_notebook(tmp_path / "09_dead.ipynb", "import os\nos._exit(3)")
    with pytest.raises(notebooks.NotebookError, match="09_dead: stopped: DeadKernelError"):
        notebooks.execute(path, tmp_path / "out.ipynb", {}, stream=Relay(io.StringIO()))
    assert not (tmp_path / "out.ipynb").exists()


# Overrides as papermill's own command hands them over: as text


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_a_chapter_hands_its_overrides_over_whole(path):
    """``load_config`` reads their text; unpacking it in a cell would raise TypeError."""
    code = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
    assert "load_config(config, overrides, seed)" in code
    assert "**overrides" not in code and "overrides[" not in code and "overrides.items" not in code


def papermill(path, *arguments):
    """What a user types, in the folder of the notebook."""
    command = [sys.executable, "-m", "papermill", path.name, "out.ipynb", "--no-progress-bar", *arguments]
    return subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False)


def test_papermill_s_own_command_overrides_a_number_of_chapter_3(tmp_path):
    cells = [cell for cell in nbformat.read(notebooks.find_notebook("03_training"), as_version=4).cells if cell.cell_type == "code"]
    (parameters,) = (cell.source for cell in cells if "parameters" in cell.metadata.get("tags", []))
    (setup,) = (cell.source for cell in cells if "load_config(config" in cell.source)
    path = write_notebook(tmp_path / "03.ipynb", setup, "print(cfg.schedules.tau_a.amplitude, cfg.seed)", parameters=parameters)
    done = papermill(path, "-p", "overrides", '{"schedules.tau_a.amplitude": 0.2, "seed": 1}', "-p", "seed", "7")
    assert done.returncode == 0, done.stderr
    assert nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[-1].outputs[0].text == "0.2 7\n"


def test_overrides_that_are_none_get_one_line_in_the_notebook(tmp_path):
    setup = "from ternary_lib.config import load_config\ncfg = load_config(config, overrides)"
    path = write_notebook(tmp_path / "x.ipynb", setup, parameters='config = "configs/smoke.yaml"\noverrides = {}\n')
    assert papermill(path, "-p", "overrides", "schedules.tau_a.amplitude=0.2").returncode == 1
    (error,) = (output for cell in nbformat.read(tmp_path / "out.ipynb", as_version=4).cells for output in cell.get("outputs", []))
    assert error.output_type == "error" and len(error.traceback) == 1
    assert error.traceback[0].startswith("ConfigError: ") and "expected a mapping such as '{" in error.traceback[0]


# The terminal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_whole_lines_and_the_last_state_of_a_redrawn_one():
    log = io.StringIO()
    relay = Relay(log, interval=1e9)
    for piece in ("one\ntw", "o\n", "10 %\r50 %", "\r100 %\n"):
        relay.write(piece)
    relay.progress("never shown")
    assert log.getvalue() == "one\ntwo\n100 %\n"


def test_a_log_gets_progress_now_and_then():
    log = io.StringIO()
    Relay(log, interval=0.0).progress("epoch 1/8")
    assert log.getvalue() == "epoch 1/8\n"


def test_a_terminal_redraws_progress_and_clears_it_before_text():
    screen = Terminal()
    relay = Relay(screen)
    relay.progress("epoch 1/8")
    relay.write("done\n")
    assert screen.getvalue() == "\r\x1b[2Kepoch 1/8\r\x1b[2Kdone\n"


def test_a_relay_of_progress_alone_keeps_text_back():
    screen, log = Terminal(), io.StringIO()
    for relay in (Relay(screen, text=False), Relay(log, interval=0.0, text=False)):
        relay.progress("epoch 1/8")
        relay.write("a table\n")
    assert screen.getvalue() == "\r\x1b[2Kepoch 1/8\r\x1b[2K" and log.getvalue() == "epoch 1/8\n"
