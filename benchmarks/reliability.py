"""Killed at random moments, does the work end as if it had never been? For a training, a sweep and the build of a book.

Each trial starts the work anew in an empty folder, kills it with SIGKILL, once or several times, and lets it go on to the end; what it
leaves is compared, byte for byte where bytes are promised, with what uninterrupted work left. Half of the kills come at random times,
half at the moments of writing: in the middle of the bytes, before and after they are flushed, before and after the file gets its name.

    python -m benchmarks.reliability --trials 50 --output results/reliability.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ternary_lib import checkpoint, records
from ternary_lib.config import PROJECT_ROOT
from ternary_lib.progress import Progress

WRITES = ("half", "before flush", "after flush", "before rename", "after rename")
TIMES = ("seconds", "started", "library_commit", "finished")  # what may differ between two runs of the same work
SMALL = {
    "name": "reliability", "data.train": 1536, "data.validation": 512, "schedules.total_epochs": 4, "schedules.phases": [1, 2, 3],
    "training.checkpoint_every": 2, "evaluation.budgets": [1000, 2000], "evaluation.final_draws": 3000,
    "evaluation.cell_draws": 8192, "evaluation.information_samples": 64,
}  # fmt: skip
# Kills itself at the k-th write, at the moment named; the work's own code follows.
AT_A_WRITE = """
import os, signal, sys
from ternary_lib import files

moment, left = sys.argv[1], int(sys.argv[2])
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
flush, rename, real_open = os.fsync, os.replace, open

class Half:
    def __init__(self, file):
        self.file = file
    def __enter__(self):
        return self
    def __exit__(self, *_):
        self.file.close()
    def __getattr__(self, name):
        return getattr(self.file, name)
    def write(self, data):
        global left
        left -= 1
        if left == 0 and moment == "half":
            self.file.write(data[: len(data) // 2])
            self.file.flush()
            die()
        return self.file.write(data)

def around(real, what):
    def call(*arguments):
        if left == 0 and moment == f"before {what}":
            die()
        real(*arguments)
        if left == 0 and moment == f"after {what}":
            die()
    return call

files.open = lambda *arguments, **options: Half(real_open(*arguments, **options))
files.os.fsync, files.os.replace = around(flush, "flush"), around(rename, "rename")
sys.argv = sys.argv[:1] + sys.argv[3:]
"""
TERNARY = "import sys\nfrom ternary_lib.cli import main\nsys.exit(main(sys.argv[1:]))\n"
BOOK = """
import sys
from pathlib import Path
from ternary_lib import book, vendor
from ternary_lib.chapters import Layout

def fail():
    raise vendor.VendorError("without the scripts for reading offline")

vendor._find_npm = fail  # they are fetched, not made
root = Path(sys.argv[1])
book.build(Layout(root), "smoke", root / "out", strict=True)
"""


class Work(NamedTuple):
    """Something that can be killed and gone on with: its command in a folder, and what it leaves there."""

    name: str
    arguments: Callable[[Path], list[str]]
    outcome: Callable[[Path], Any]
    writes: int  # files that uninterrupted work writes, at least
    code: str = TERNARY  # what the arguments are given to
    prepare: Callable[[Path], None] = lambda folder: None


def training() -> Work:
    """Four epochs, evaluated and saved each."""
    settings = [f"--set={key}={json.dumps(value)}" for key, value in SMALL.items()]

    def arguments(folder: Path) -> list[str]:
        return ["train", "--config", "configs/smoke.yaml", *settings, "--run-dir", str(folder / "run"), "--resume", "--quiet"]

    return Work("training", arguments, lambda folder: _run(folder / "run"), 12)


def sweep(folder: Path) -> Work:
    """Two variants on two seeds, two at a time."""
    variants = {"loss": {"set": {}}, "none": {"set": {"statenet.signal": "none"}}}
    given = {key: value for key, value in SMALL.items() if key != "name"}
    path = folder / "reliability.yaml"
    content = {"name": "reliability", "config": "configs/smoke.yaml", "set": given, "seeds": [0, 1], "variants": variants}
    path.write_text(json.dumps(content))  # JSON is YAML

    def arguments(folder: Path) -> list[str]:
        return ["sweep", str(path), "--output", str(folder / "store"), "--jobs", "2", "--quiet"]

    def outcome(folder: Path) -> Any:
        found = sorted((folder / "store" / "reliability").iterdir())
        return {path.name: _substance(records.read_json(path)) for path in found if path.suffix == ".json"}, [p.name for p in found]

    return Work("sweep", arguments, outcome, 4)


def book() -> Work:
    """A book of one page and one chapter: executed, rendered, checked."""
    return Work("book", lambda folder: [str(folder)], _pages, 1, BOOK, _small_book)


def _small_book(root: Path) -> None:
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    (root / "configs" / "papermill").mkdir(parents=True)
    (root / "configs" / "papermill" / "smoke.yaml").write_text("word: smoke\n")
    cells = [
        new_markdown_cell("# A chapter", id="title"),
        new_code_cell('word = "small"  # a word', metadata={"tags": ["parameters"]}, id="parameters"),
        new_code_cell("print(word, sum(k * k for k in range(1000)))", id="code"),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    (root / "notebooks").mkdir()
    nbformat.write(new_notebook(cells=cells, metadata=kernel), root / "notebooks" / "01_one.ipynb")
    shutil.copy(PROJECT_ROOT / "_config.yml", root)
    (root / "_toc.yml").write_text("format: jb-book\nroot: book/intro\nchapters:\n  - file: book/notebooks/01_one\n")
    shutil.copytree(PROJECT_ROOT / "book" / "_ext", root / "book" / "_ext", ignore=shutil.ignore_patterns("__pycache__"))
    static = shutil.ignore_patterns("vendor", "live*", "explorer*")
    shutil.copytree(PROJECT_ROOT / "book" / "_static", root / "book" / "_static", ignore=static)
    (root / "book" / "references.bib").write_text("")
    (root / "book" / "intro.md").write_text("# Intro\n\nSize {value}`build.size`, {doc}`notebooks/01_one`.\n")


def _pages(root: Path) -> Any:
    site = root / "out" / "_build" / "html"
    pages = {str(path.relative_to(site)): path.read_text(encoding="utf-8") for path in sorted(site.rglob("*.html"))}
    kept = sorted(path.name for path in (root / "book" / "notebooks").rglob("*"))
    return {name: text for name, text in pages.items() if not name.startswith("_static")}, kept


def _run(folder: Path) -> Any:
    files = sorted(path.name for path in folder.iterdir())
    tensors = {
        name: {key: hashlib.sha256(value.numpy().tobytes()).hexdigest() for key, value in checkpoint.load(folder / name)[0].items()}
        for name in files
        if name.endswith(".safetensors")
    }
    return files, tensors, _substance(records.read_json(folder / "record.json"))


def _substance(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in TIMES}


def whole_files(folder: Path) -> list[str]:
    """Names of the files under ``folder`` that cannot be read whole; those that were being written are hidden and do not count."""
    bad = []
    for path in folder.rglob("*"):
        try:
            if path.suffix == ".safetensors" and not path.name.startswith("."):
                checkpoint.load(path)
            if path.suffix == ".json" and not path.name.startswith("."):
                records.read_json(path)
        except ValueError:
            bad.append(path.name)
    return bad


def trial(work: Work, folder: Path, rng: random.Random, seconds: float, at_a_write: bool, kills: int = 1) -> dict[str, Any]:
    """Start, kill, go on; what was found."""
    moments, broken, killed = [], [], 0
    for _ in range(kills):
        command = ["-c", work.code, *work.arguments(folder)]
        if at_a_write:
            moment, count = rng.choice(WRITES), rng.randint(1, work.writes)
            command = ["-c", AT_A_WRITE + work.code, moment, str(count), *work.arguments(folder)]
            moments.append(f"{moment}, write {count}")
            deadline = time.monotonic() + 10 * seconds
        else:
            wait = rng.uniform(0.15, 0.85) * seconds
            moments.append(f"{wait:.2f} s")
            deadline = time.monotonic() + wait
        process = subprocess.Popen(
            [sys.executable, *command], cwd=PROJECT_ROOT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        broken += whole_files(folder)
    done = subprocess.run(
        [sys.executable, "-c", work.code, *work.arguments(folder)], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False
    )
    found = {"moments": moments, "killed": killed, "broken": broken, "status": done.returncode}
    return found | ({} if done.returncode == 0 else {"error": done.stderr.strip()[-300:]})


def measure(work: Work, trials: int, seed: int, scratch: Path) -> dict[str, Any]:
    """``trials`` trials of one kind of work against the same work left alone."""
    rng = random.Random(seed)
    alone = scratch / f"{work.name}-alone"
    alone.mkdir()
    work.prepare(alone)
    clock = time.monotonic()
    command = [sys.executable, "-c", work.code, *work.arguments(alone)]
    subprocess.run(command, cwd=PROJECT_ROOT, check=True, stdout=subprocess.DEVNULL)
    seconds, expected = time.monotonic() - clock, work.outcome(alone)
    bar, found = Progress(trials, unit="trial"), []
    for number in range(trials):
        folder = scratch / f"{work.name}-{number}"
        folder.mkdir()
        work.prepare(folder)
        one = trial(work, folder, rng, seconds, at_a_write=number % 2 == 1, kills=1 + (number % 5 == 0))
        one["same"] = one["status"] == 0 and work.outcome(folder) == expected
        found.append(one)
        shutil.rmtree(folder)
        bar.update(number + 1, f"{work.name}: {sum(t['same'] for t in found)} of {len(found)} the same")
    bar.close(f"{work.name}: {sum(t['same'] for t in found)} of {trials} ended as if never interrupted")
    return {
        "trials": trials,
        "kills": sum(t["killed"] for t in found),
        "same": sum(t["same"] for t in found),
        "half_written": sum(len(t["broken"]) for t in found),
        "seconds_alone": round(seconds, 2),
        "each": found,
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure and write the result; status 1 where a trial did not end the same."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability", description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=50, metavar="N", help="trials of each of the three (default: 50)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments (default: 0)")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the JSON record to write")
    given = parser.parse_args(arguments)
    if given.trials < 1 or not given.output.parent.is_dir() or given.output.is_dir():
        parser.error("expected --trials of at least 1 and an --output in a directory that exists")
    found: dict[str, Any] = {"seed": given.seed, **records.provenance()}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        works = training(), sweep(scratch), book()
        found |= {work.name: measure(work, given.trials, given.seed + k, scratch) for k, work in enumerate(works)}
    records.write_json(given.output, found)
    return int(any(found[work.name]["same"] < given.trials for work in works))


if __name__ == "__main__":
    sys.exit(main())
