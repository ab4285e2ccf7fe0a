"""The pins agree, the Makefile explains itself, and a clone needs nothing else."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, version

import yaml

from ternary_lib import __version__
from ternary_lib.config import PROJECT_ROOT
from ternary_lib.weights import RELEASED

PROJECT = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
MAKEFILE = (PROJECT_ROOT / "Makefile").read_text(encoding="utf-8")


def pins(lines) -> dict[str, str]:
    """Package -> version of lines NAME==VERSION; anything looser fails."""
    found = {}
    for line in lines:
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.+]+)", line)
        assert match, f"{line!r} is not an exact pin"
        found[normal(match[1])] = match[2]
    return found


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lock() -> dict[str, str]:
    """The lock's pins."""
    lines = (PROJECT_ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return pins(line for line in lines if line and not line.startswith("#"))


def declared() -> dict[str, str]:
    """Every direct pin of pyproject.toml, extras included."""
    return pins([*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)])


def test_torch_is_pinned_exactly():
    assert declared()["torch"] == "2.13.0"


def test_the_lock_holds_every_direct_pin():
    locked = lock()
    assert {name: locked.get(name) for name in declared()} == declared()


def test_the_conda_environment_agrees_with_the_pins():
    environment = yaml.safe_load((PROJECT_ROOT / "environment.yml").read_text(encoding="utf-8"))
    python = next(item for item in environment["dependencies"] if isinstance(item, str) and item.startswith("python="))
    assert python == "python=3.11"
    pip = next(item["pip"] for item in environment["dependencies"] if isinstance(item, dict))
    options = [line for line in pip if line.startswith("-")]
    assert options == ["--constraint requirements.lock", "--editable ."]
    wanted = pins([*PROJECT["dependencies"], *EXTRAS["book"], *EXTRAS["test"]])
    assert pins(line for line in pip if not line.startswith("-")) == wanted


def test_what_is_installed_is_what_is_locked():
    wrong = {}
    for name, locked in lock().items():
        try:
            installed = version(name).split("+")[0]
        except PackageNotFoundError:
            assert name not in pins(PROJECT["dependencies"]), f"{name} is not installed"
            continue
        if installed != locked:
            wrong[name] = (installed, locked)
    assert wrong == {}


def test_every_import_is_declared():
    owners = packages_distributions()
    used = set()
    for path in (PROJECT_ROOT / "ternary_lib").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                used |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                used.add(node.module.split(".")[0])
    outside = used - set(sys.stdlib_module_names) - {"ternary_lib", "__future__"}
    undeclared = {name for name in outside if not {normal(owner) for owner in owners.get(name, [name])} & declared().keys()}
    undeclared -= {"IPython", "traitlets", "cycler"}  # come with ipykernel and matplotlib, which cannot do without
    assert undeclared == set()


def test_make_help_lists_every_target():
    listed = subprocess.run(["make", "help"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split()
    rules = re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE)
    assert sorted(targets) == sorted(rules)
    lines = {line.split()[1]: line for line in listed.splitlines()}
    assert [target for target in targets if len(lines.get(target, "").split()) < 4] == []


def test_a_missing_python_gives_one_clear_line(tmp_path):
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(PROJECT_ROOT / name, tmp_path)
    done = subprocess.run(["make", "book", "PYTHON=python0"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].startswith("error: no Python 3.11")
    assert not (tmp_path / ".venv").exists()


def test_make_results_makes_every_committed_record(tmp_path):
    """In a folder with no record, by what make would run; a record that is there, and a run of seed 42, is not made again."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(PROJECT_ROOT / name, tmp_path)

    def commands() -> str:
        return subprocess.run(["make", "--dry-run", "results"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    stands_for = {"claims.yaml": "ternary_lib.claims --update", "headline.svg": "ternary_lib.pages"}
    stands_for |= {"benchmark.json": "ternary_lib benchmark", "noticed.json": "coverage mutants"}
    files = [path for path in (PROJECT_ROOT / "results").iterdir() if path.is_file()]
    wanted = {path.name: stands_for.get(path.name, f"benchmarks.{path.stem}") for path in files}
    assert len(wanted) > 10 and {name for name, command in wanted.items() if command not in commands()} == set()
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "fuzz.json").write_text("{}")
    assert "benchmarks.fuzz" not in commands() and "benchmarks.mistakes" in commands()


def test_make_results_looks_for_every_release_and_every_sweep():
    results = PROJECT_ROOT / "results"
    names = re.search(r"^RECORDS := (.*)$", MAKEFILE, re.MULTILINE)[1].split()
    assert {path.stem for path in (results / "runs").glob("*.json")} == {f"{name}_seed42" for name in names}
    looked_for = set(re.findall(r"weights/\$\$\{name\}(_seed42\w*)\.safetensors", MAKEFILE))
    assert {"_seed42" + release.file.partition("_seed42")[2] for release in RELEASED.values()} == looked_for
    asked_for = {path.stem for path in (PROJECT_ROOT / "configs" / "sweeps").glob("*.yaml")}
    assert {path.name for path in (results / "sweeps").iterdir() if path.is_dir()} == asked_for | {"original"}


def test_ci_runs_what_the_readme_says():
    script = PROJECT_ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    text = script.read_text(encoding="utf-8")
    assert "make test" in text and "make book-smoke" in text
    readme = (PROJECT_ROOT / "README.md").read_text(encoding="utf-8")
    assert "make book" in readme and "make test" in readme


def test_citation_and_package_name_the_same_version():
    citation = yaml.safe_load((PROJECT_ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == __version__ and citation["license"] == "MIT"


def test_checks_without_a_browser_fail_unless_they_are_told_to_go_without(tmp_path):
    """The script on a machine with nothing but make, and a make that does nothing."""
    for tool in ("sh", "dirname", "date"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    for tool, does in {"make": "echo make \"$@\"", "id": "echo 1000", "g++": ":"}.items():
        (tmp_path / tool).write_text(f"#!{shutil.which('sh')}\n{does}\n")
        (tmp_path / tool).chmod(0o755)

    def checks(**more: str) -> subprocess.CompletedProcess[str]:
        command = [shutil.which("sh"), str(PROJECT_ROOT / ".ci" / "run")]
        return subprocess.run(command, env={"PATH": str(tmp_path)} | more, capture_output=True, text=True, check=False)

    bare = checks()
    assert bare.returncode == 1 and "no Chromium" in bare.stderr and "make check-pages" not in bare.stdout
    told = checks(TERNARY_NO_BROWSER="1")
    assert told.returncode == 0 and "not opened in a browser" in told.stdout and "make check-pages" not in told.stdout
    (tmp_path / "chromium").symlink_to(shutil.which("sh"))
    assert "make check-pages SITE=runs/book-smoke/_build/html" in checks().stdout


def test_several_workers_keep_a_file_together(tmp_path):
    """Notebooks and tests that share runs would otherwise take each other's directories; xdist groups nothing where pytest is too new."""
    shutil.copy(PROJECT_ROOT / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    for name in "abc":
        (tmp_path / f"test_{name}.py").write_text(
            "import os, time, pytest\n@pytest.mark.parametrize('i', range(6))\ndef test_it(i):\n    time.sleep(0.02)\n"
            "    open(__file__ + '.workers', 'a').write(os.environ['PYTEST_XDIST_WORKER'] + ' ')\n"
        )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--numprocesses", "2", "--dist", "loadgroup", str(tmp_path)]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    workers = [(tmp_path / f"test_{name}.py.workers").read_text().split() for name in "abc"]
    assert [(len(seen), len(set(seen))) for seen in workers] == [(6, 1)] * 3
