"""What ``from ternary_lib import …`` gives, and that it costs nothing until it is used."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import ternary_lib
from ternary_lib import config, coverage, model, training, weights

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
