"""On other Pythons: the wheel in an empty environment trains outside the checkout, and every test passes in a clone.

For each interpreter a new environment is made, the locked packages and the wheel are installed into it, and ``ternary`` is called as a user
would call it, in an empty folder. With ``--tests`` the whole suite then runs in a fresh clone. With ``--torch`` another PyTorch takes the
pinned one's place, and of the suite the reference runs are made: their figures have to agree, their bits need not.

    python -m benchmarks.machines python3.12 python3.13 --tests
    python -m benchmarks.machines python3.11 --torch 2.14.1 --tests
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ternary_lib import records
from ternary_lib.config import PROJECT_ROOT

COUNTS = re.compile(r"(\d+) (passed|failed|skipped|error)")
REFERENCE = "tests/test_reference.py"
SMOKE = ("train", "--config", "configs/smoke.yaml", "--run-dir", "run", "--quiet")


def build(folder: Path) -> Path:
    """The wheel, made of the source distribution."""
    sdist = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(folder)]
    subprocess.run(sdist, cwd=PROJECT_ROOT, check=True, stdout=subprocess.DEVNULL)
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*wheel, str(next(folder.glob("*.tar.gz")))], check=True)
    return next(folder.glob("*.whl"))


def install(interpreter: str, wheel: Path, folder: Path, extras: str, torch: str | None = None) -> Path:
    """A new environment that has the wheel and what it needs, as locked but for ``torch``; its interpreter."""
    subprocess.run([interpreter, "-m", "venv", "--clear", str(folder)], check=True)
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--constraint", str(PROJECT_ROOT / "requirements.lock"), f"{wheel}{extras}"], check=True)
    if torch:  # not the one that the wheel asks for, as pip then says
        subprocess.run([*pip, f"torch=={torch}"], check=True)
    return python


def main_job(python: Path, folder: Path) -> dict[str, Any]:
    """Training and evaluating by the console script in an empty folder: what it leaves, and the first epoch's figures."""
    folder.mkdir()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TERNARY_"))}

    def ternary(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(python.with_name("ternary")), *arguments]
        return subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=False)

    begun = time.monotonic()
    trained = ternary(*SMOKE)
    seconds = time.monotonic() - begun
    if trained.returncode:
        return {"status": trained.returncode, "error": trained.stderr[-500:]}
    measured = ternary("evaluate", "--checkpoint", "run/last.safetensors", "--json")
    record = records.read_run(folder / "run" / "record.json")
    same = measured.returncode == 0 and json.loads(measured.stdout)["validation.total"] == record["history"]["validation.total"][-1]
    return {
        "status": measured.returncode,
        "seconds": round(seconds, 1),
        "evaluates_to_the_same": same,
        "left": sorted(path.name for path in folder.iterdir()),
        "weights_sha256": record["weights_sha256"],
        "versions": record["versions"],
    }


def suite(python: Path, clone: Path, *files: str) -> dict[str, Any]:
    """Every test, or those of some files, in a fresh clone, by this environment: counts by outcome."""
    subprocess.run(["git", "clone", "--quiet", str(PROJECT_ROOT), str(clone)], check=True)
    command = [str(python), "-m", "pytest", "--numprocesses", "2", "--dist", "loadgroup", "--no-loadscope-reorder", "-q", "-rfE", *files]
    begun = time.monotonic()
    done = subprocess.run(command, cwd=clone, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False)
    last = next((line for line in reversed(done.stdout.splitlines()) if COUNTS.search(line)), "")
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True).stdout
    counts = {kind: int(number) for number, kind in COUNTS.findall(last)}
    failures = [line.replace(f"{clone}{os.sep}", "")[:300] for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    seconds = round(time.monotonic() - begun)
    return {"status": done.returncode, "seconds": seconds, **counts, "failures": failures, "tree": changed.splitlines()}


def measure(interpreter: str, wheel: Path, folder: Path, tests: bool, torch: str | None = None) -> dict[str, Any]:
    """One interpreter: installed, worked with and, where asked for, tested."""
    begun = time.monotonic()
    python = install(interpreter, wheel, folder / "environment", "[book,test]" if tests else "", torch)
    found: dict[str, Any] = {"installed_s": round(time.monotonic() - begun), "main_job": main_job(python, folder / "elsewhere")}
    return found | ({"tests": suite(python, folder / "clone", *([REFERENCE] if torch else []))} if tests else {})


def is_sound(found: dict[str, Any]) -> bool:
    """Whether everything went as it should."""
    job, tests = found["main_job"], found.get("tests", {"status": 0, "tree": []})
    worked = job["status"] == 0 and job["evaluates_to_the_same"] and job["left"] == ["run"]
    return worked and tests["status"] == 0 and not tests["tree"]


def main(arguments: list[str] | None = None) -> int:
    """Measure and write the result; status 1 where something failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.machines", description=__doc__.splitlines()[0])
    parser.add_argument("interpreters", nargs="+", metavar="PYTHON", help="e.g. python3.12")
    parser.add_argument("--tests", action="store_true", help="run the whole suite, too (ten minutes each)")
    parser.add_argument("--torch", metavar="VERSION", help="in place of the pinned one; of the tests only the reference runs")
    default = records.results_dir() / "machines.json"
    parser.add_argument("--output", type=Path, default=default, metavar="FILE", help="the record; interpreters that it has stay")
    given = parser.parse_args(arguments)
    if not given.output.parent.is_dir() or given.output.is_dir():
        parser.error("expected an --output in a directory that exists")
    record = records.read_json(given.output) if given.output.is_file() else {"pythons": {}}
    sound = True
    for interpreter in given.interpreters:
        with tempfile.TemporaryDirectory() as name:
            found = measure(interpreter, build(Path(name)), Path(name), given.tests, given.torch)
        version = found["main_job"].get("versions", {}).get("python", interpreter) + (f", torch {given.torch}" if given.torch else "")
        record["pythons"][version] = records.provenance() | found
        records.write_json(given.output, record)
        print(f"{version}: {'sound' if is_sound(found) else 'NOT as it should be'}", flush=True)
        sound = sound and is_sound(found)
    return int(not sound)


if __name__ == "__main__":
    sys.exit(main())
