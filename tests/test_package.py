"""What ``from ternary_lib import …`` gives, and that it costs nothing until it is used."""

import ast
import inspect
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import ternary_lib
from ternary_lib import config, coverage, model, training, weights
from ternary_lib.config import PROJECT_ROOT

HOMES = {"TernaryVAE": model, "load_config": config, "load_model": weights, "sample_coverage": coverage, "train": training}


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", HOMES)
def test_a_name_is_the_one_of_its_module(name):
    assert getattr(ternary_lib, name) is getattr(HOMES[name], name)
    assert name in dir(ternary_lib)


def test_these_names_and_no_others():
    assert sorted(ternary_lib.__all__) == sorted(HOMES)
    with pytest.raises(AttributeError, match="no attribute 'load_modle'"):
        ternary_lib.load_modle  # noqa: B018
    with pytest.raises(ImportError):
        exec("from ternary_lib import no_such_name")


def test_editors_see_what_is_imported_at_run_time():
    """The imports under TYPE_CHECKING name the same modules as the lazy ones."""
    tree = ast.parse(Path(inspect.getfile(ternary_lib)).read_text(encoding="utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in guarded.body for alias in node.names}
    assert seen == {name: module.__name__ for name, module in HOMES.items()}


def test_importing_the_package_loads_nothing():
    assert run("import sys, ternary_lib; print(sorted({'torch', 'numpy', 'pydantic', 'yaml'} & set(sys.modules)))").strip() == "[]"


def test_a_configuration_needs_no_torch():
    assert run("import sys; from ternary_lib import load_config; print('torch' in sys.modules)").strip() == "False"


def test_a_star_import_gives_all_of_them():
    assert run("from ternary_lib import *; print(TernaryVAE.__name__, callable(train))").strip() == "TernaryVAE True"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel's files, from the sdist's files, from the checkout's: what ``pip install`` of either puts into an environment."""
    folder = tmp_path_factory.mktemp("dist")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    build = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder), "--target"]
    subprocess.run([*build, "sdist"], cwd=PROJECT_ROOT, env=environment, check=True, capture_output=True)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as sdist:
        sdist.extractall(folder, filter="data")
    source = next(path for path in folder.iterdir() if path.is_dir())
    subprocess.run([*build, "wheel"], cwd=source, env=environment, check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def ternary(installed, folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run([sys.executable, "-m", "ternary_lib", *arguments], cwd=folder, env=environment, capture_output=True, text=True)


def test_a_wheel_made_of_the_sdist_trains_outside_the_checkout(installed, tmp_path):
    tiny = {"schedules.total_epochs": 1, "schedules.phases": "[1, 1, 1]", "data.train": 512, "data.validation": 64}
    done = ternary(
        installed, tmp_path, "train", "--config", "configs/smoke.yaml", "--quiet", *(f"--set={key}={value}" for key, value in tiny.items())
    )
    assert done.returncode == 0, done.stderr
    records = list(tmp_path.glob("runs/*/record.json"))
    assert len(records) == 1 and json.loads(records[0].read_text())["library_commit"] is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]
    assert not (installed / "runs").exists() and not (installed / "ternary_lib" / "shipped" / "runs").exists()


def test_an_installed_package_has_the_released_weights_and_says_what_it_lacks(installed, tmp_path):
    code = "import ternary_lib; print(ternary_lib.__file__, ternary_lib.load_model('ternary_v6').training)"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(installed / "ternary_lib" / "__init__.py"), "False"]
    for command in (["book", "--size", "smoke"], ["notebook", "notebooks/01_theory.ipynb"]):
        refused = ternary(installed, tmp_path, *command)
        assert refused.returncode == 2, refused.stderr
        assert refused.stderr.startswith("error: ") and refused.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
