"""Killed at random moments, does the work end as if it had never been? For a training, a sweep and a book, built or built anew.

Each trial starts the work anew in an empty folder, kills it with SIGKILL, once or twice, and lets it go on to the end; what it leaves is
compared, byte for byte where bytes are promised, with what uninterrupted work left. What was finished at the kill must not be made
again. Half of the kills come at random times, half at the moments of writing, in whichever process writes: in the middle of the bytes,
before and after they are flushed, before and after the file gets its name, and of files written in place, when they are still empty.

    python -m benchmarks.reliability --trials 50
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
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ternary_lib import checkpoint, records
from ternary_lib.config import PROJECT_ROOT
from ternary_lib.progress import Progress

KINDS = ("training", "sweep", "book", "pages")
MISSES = 20  # attempts in a row that may end before their kill
TIMES = ("seconds", "started", "library_commit", "finished")  # what may differ between two runs of the same work
SMALL = {
    "name": "reliability", "data.train": 1536, "data.validation": 512, "schedules.total_epochs": 8, "schedules.phases": [1, 2, 3],
    "training.checkpoint_every": 1, "evaluation.budgets": [1000, 2000], "evaluation.final_draws": 3000,
    "evaluation.cell_draws": 8192, "evaluation.information_samples": 64,
}  # fmt: skip
# The work's processes, the workers and kernels that it starts among them, import this as they start: ``sitecustomize``. Each counts its
# moments of writing under one folder; at the chosen one it tells the log and ends itself and every process of the first one's group.
AT_A_WRITE = """
import builtins, io, os, signal
from collections import Counter

folder, log, chosen = (os.environ[f"STRIKE_{name}"] for name in ("FOLDER", "LOG", "AT"))
first = int(os.environ.setdefault("STRIKE_FIRST", str(os.getpid())))
real_open, real_flush, real_replace, counts = io.open, os.fsync, os.replace, Counter()

def at(moment, name=""):
    process = "main" if os.getpid() == first else "worker"
    counts[moment] += 1
    now = f"{process}, {moment}, {counts[moment]}"
    if chosen in ("every", now):
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{now}, {os.path.basename(name)}\\n".encode())
        os.close(descriptor)
    return now == chosen

def strike():
    os.killpg(first, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)

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
        self.file.write(data[: len(data) // 2])
        self.file.flush()
        strike()

def open(file, mode="r", *arguments, **options):
    opened = real_open(file, mode, *arguments, **options)
    name = "" if isinstance(file, int) or not set(mode) & set("wax+") else os.path.realpath(os.fsdecode(file))
    if name.startswith(folder):
        hidden = os.path.basename(name).startswith(".") and name.endswith(".tmp")
        if at("half", name) if hidden else at("still empty", name):
            return Half(opened) if hidden else strike()
    return opened

def flush(descriptor):
    at("before flush") and strike()
    real_flush(descriptor)
    at("after flush") and strike()

def replace(source, target, **options):
    ours = os.path.realpath(os.fsdecode(target)).startswith(folder)
    ours and at("before rename", os.fsdecode(target)) and strike()
    real_replace(source, target, **options)
    ours and at("after rename", os.fsdecode(target)) and strike()

builtins.open, io.open, os.fsync, os.replace = open, open, flush, replace
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
# A chapter keeps something, as those do that train.
CELL = """
from pathlib import Path
from ternary_lib.files import claimed, write_atomically

kept = Path("runs") / word
with claimed(kept):
    write_atomically(kept / "sum.json", b'{"sum": %d}' % sum(k * k for k in range(1000)))
print(word, (kept / "sum.json").read_text())
"""


class Work(NamedTuple):
    """Something that can be killed and gone on with: its command in a folder, what it leaves there, and what of it is finished."""

    name: str
    arguments: Callable[[Path], list[str]]
    outcome: Callable[[Path], dict[str, Any]]  # by name; no other names are there where no other files are
    finished: Callable[[Path], list[Path]]  # files of parts that are done, and that going on must leave alone
    code: str = TERNARY  # what the arguments are given to
    prepare: Callable[[Path], None] = lambda folder: None
    root: Path = PROJECT_ROOT  # the project's code


class Alone(NamedTuple):
    """What work does that nobody disturbs: its time, its moments of writing with their numbers, its outcome, the names of all its files."""

    seconds: float
    moments: dict[tuple[str, str], int]  # by process and moment
    outcome: dict[str, Any]
    names: list[str]


def training(root: Path = PROJECT_ROOT) -> Work:
    """Eight epochs, evaluated and saved each; finished are the epochs that the last checkpoint counts."""
    settings = [f"--set={key}={json.dumps(value)}" for key, value in SMALL.items()]

    def arguments(folder: Path) -> list[str]:
        return ["train", "--config", "configs/smoke.yaml", *settings, "--run-dir", str(folder / "run"), "--resume", "--quiet"]

    def finished(folder: Path) -> list[Path]:
        last = folder / "run" / "last.safetensors"
        epochs = checkpoint.load(last)[1]["epoch"] if last.is_file() else 0
        return [path for path in last.parent.glob("epoch_*.safetensors") if int(path.stem[6:]) <= epochs]

    return Work("training", arguments, lambda folder: _run(folder / "run"), finished, root=root)


def sweep(folder: Path, root: Path = PROJECT_ROOT) -> Work:
    """Two variants on three seeds, two epochs each, two at a time; finished are the runs that have a record."""
    variants = {"loss": {"set": {}}, "none": {"set": {"statenet.signal": "none"}}}
    given = {key: value for key, value in SMALL.items() if key != "name"} | {"schedules.total_epochs": 2}
    path = folder / "reliability.yaml"
    content = {"name": "reliability", "config": "configs/smoke.yaml", "set": given, "seeds": [0, 1, 2], "variants": variants}
    path.write_text(json.dumps(content))  # JSON is YAML

    def arguments(folder: Path) -> list[str]:
        return ["sweep", str(path), "--output", str(folder / "store"), "--jobs", "2", "--quiet"]

    def finished(folder: Path) -> list[Path]:
        return [path for path in (folder / "store" / "reliability").glob("*.json") if not path.name.startswith(".")]

    def outcome(folder: Path) -> dict[str, Any]:
        return {path.name: _substance(records.read_json(path)) for path in sorted(finished(folder))}

    return Work("sweep", arguments, outcome, finished, root=root)


def book(root: Path = PROJECT_ROOT) -> Work:
    """A book of one page and two chapters: executed, rendered, checked; finished are the chapters that have a stamp."""

    def finished(folder: Path) -> list[Path]:
        store = folder / "book" / "notebooks" / ".smoke"
        return [path for path in store.glob("*.ipynb") if path.with_suffix(".json").is_file()]

    return Work("book", lambda folder: [str(folder)], _pages, finished, BOOK, _small_book, root)


def pages(root: Path = PROJECT_ROOT) -> Work:
    """The same book, built before, and then a line changed that a page includes: its pages are rendered anew."""

    def prepare(folder: Path) -> None:
        built = folder.with_name("built")
        if not built.exists():
            _small_book(folder)
            status, error = _do(whole, folder, None)
            if status:
                raise SystemExit(f"error: the book could not be built: {error}")
            shutil.copytree(folder, built)
        shutil.copytree(built, folder, dirs_exist_ok=True)  # with their times, which tell Sphinx what changed
        (folder / "book" / "line.md").write_text("As it is now.\n")

    whole = book(root)
    return whole._replace(name="pages", prepare=prepare)


def _small_book(root: Path) -> None:
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    (root / "configs" / "papermill").mkdir(parents=True)
    (root / "configs" / "papermill" / "smoke.yaml").write_text("size: smoke\n")
    (root / "notebooks").mkdir()
    for name in ("01_one", "02_two"):
        cells = [
            new_markdown_cell(f"# Chapter {name}", id="title"),
            new_code_cell(f'word = "{name}"  # a word\nsize = "small"  # another', metadata={"tags": ["parameters"]}, id="parameters"),
            new_code_cell(CELL, id="code"),
        ]
        nbformat.write(new_notebook(cells=cells, metadata=kernel), root / "notebooks" / f"{name}.ipynb")
    shutil.copy(PROJECT_ROOT / "_config.yml", root)
    chapters = "".join(f"  - file: book/notebooks/{name}\n" for name in ("01_one", "02_two"))
    (root / "_toc.yml").write_text(f"format: jb-book\nroot: book/intro\nchapters:\n{chapters}")
    shutil.copytree(PROJECT_ROOT / "book" / "_ext", root / "book" / "_ext", ignore=shutil.ignore_patterns("__pycache__"))
    static = shutil.ignore_patterns("vendor", "live*", "explorer*")
    shutil.copytree(PROJECT_ROOT / "book" / "_static", root / "book" / "_static", ignore=static)
    (root / "book" / "references.bib").write_text("")
    chapters = "{doc}`notebooks/01_one`, {doc}`notebooks/02_two`"
    (root / "book" / "line.md").write_text("As it was before.\n")
    (root / "book" / "intro.md").write_text(f"# Intro\n\nSize {{value}}`build.size`, {chapters}.\n\n```{{include}} line.md\n```\n")


def _pages(root: Path) -> dict[str, str]:
    site = root / "out" / "_build" / "html"
    pages = [path for kind in ("*.html", "*.js", "*.css") for path in sorted(site.rglob(kind))]
    kept = sorted((root / "runs").rglob("*.json"))
    return {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in (*pages, *kept)}


def _run(folder: Path) -> dict[str, Any]:
    tensors = {
        path.name: {key: hashlib.sha256(value.numpy().tobytes()).hexdigest() for key, value in checkpoint.load(path)[0].items()}
        for path in sorted(folder.glob("*.safetensors"))
    }
    record, config = _substance(records.read_json(folder / "record.json")), (folder / "config.yaml").read_text()
    return tensors | {"record.json": record, "config.yaml": config}


def _substance(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in TIMES}


def whole_files(folder: Path) -> list[str]:
    """Names of the checkpoints, records and executed chapters that cannot be read whole; what is still being made has a hidden name."""
    bad = []
    for path in folder.rglob("*"):
        made = not path.name.startswith(".") and not path.parent.name.startswith(".running-") and "_build" not in path.parts
        try:
            if made and path.suffix == ".safetensors":
                checkpoint.load(path)
            if made and (path.suffix == ".json" or path.match(".*/*.ipynb")):
                records.read_json(path)
        except ValueError:
            bad.append(path.name)
    return bad


def leave_alone(work: Work, folder: Path, scratch: Path) -> Alone:
    """Do the work undisturbed and note its moments of writing."""
    _empty(folder, work)
    clock = time.monotonic()
    status, error = _do(work, folder, None, _watched(folder, scratch, "every"))
    if status:
        raise SystemExit(f"error: {work.name}: fails when it is left alone: {error}")
    seconds, moments = time.monotonic() - clock, Counter()
    for line in (scratch / "log").read_text().splitlines():
        process, moment, number, _ = line.split(", ")
        moments[process, moment] = max(moments[process, moment], int(number))
    return Alone(seconds, moments, work.outcome(folder), _names(folder))


def trial(work: Work, folder: Path, scratch: Path, alone: Alone, rng: random.Random, at_a_write: bool, kills: int = 1) -> dict[str, Any]:
    """Start in an empty folder, kill, go on to the end; what was found.

    Fewer ``moments`` than ``kills`` say that the work ended before a kill came: it proves nothing, unless it did not end the same.
    """
    _empty(folder, work)
    patience, moments, broken, kept, redone = 60 + 20 * alone.seconds, [], [], {}, set()
    while True:
        if len(moments) == kills:
            status, error = _do(work, folder, patience)
        elif at_a_write:
            process, moment = rng.choice(sorted(alone.moments))
            chosen = f"{process}, {moment}, {rng.randint(1, alone.moments[process, moment])}"
            status, error = _do(work, folder, patience, _watched(folder, scratch, chosen))
            struck = (scratch / "log").read_text().strip() if (scratch / "log").exists() else ""
        else:
            low, high = (0.15, 0.6) if moments else (0.3, 0.95)  # the first third passes as modules are loaded; what goes on takes less
            wait = rng.uniform(low, high) * alone.seconds
            status, error = _do(work, folder, wait)
            struck = f"{wait:.2f} s"
        redone |= {name for name, part in kept.items() if _fingerprint(folder / name) != part}
        if len(moments) == kills or status != -signal.SIGKILL or not struck:
            break
        moments.append(struck)
        broken += whole_files(folder)
        kept = {str(path.relative_to(folder)): _fingerprint(path) for path in work.finished(folder)}
    names = _names(folder)
    found = {"moments": moments, "kept": len(kept), "redone": sorted(redone), "broken": broken, "status": status}
    found |= {"left": sorted({*names} - {*alone.names}), "lost": sorted({*alone.names} - {*names})}
    ended = work.outcome(folder) if status == 0 and not found["lost"] else {}
    found["differs"] = sorted(name for name in alone.outcome if ended.get(name) != alone.outcome[name])
    found["same"] = status == 0 and not (redone or found["left"] or found["lost"] or found["differs"])
    return found | ({"error": error} if status else {})


def _empty(folder: Path, work: Work) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    work.prepare(folder)


def _do(work: Work, folder: Path, seconds: float | None, watched: dict[str, str] | None = None) -> tuple[int, str]:
    """The work's exit status, -SIGKILL where it was killed, after ``seconds`` at the latest, and the end of what it complained of."""
    paths = [(watched or {}).get("PYTHONPATH"), str(work.root), os.environ.get("PYTHONPATH")]
    environment = os.environ | (watched or {}) | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", work.code, *work.arguments(folder)]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, cwd=work.root, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=errors
        )
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        errors.seek(0)
        return process.returncode, errors.read().decode(errors="replace").strip()[-300:]


def _watched(folder: Path, scratch: Path, chosen: str) -> dict[str, str]:
    hook, log = scratch / "hook", scratch / "log"
    hook.mkdir(exist_ok=True)
    (hook / "sitecustomize.py").write_text(AT_A_WRITE)
    log.unlink(missing_ok=True)
    return {"PYTHONPATH": str(hook), "STRIKE_FOLDER": f"{folder.resolve()}{os.sep}", "STRIKE_LOG": str(log), "STRIKE_AT": chosen}


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def _fingerprint(path: Path) -> tuple[int, str] | None:
    return (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()) if path.is_file() else None


def measure(work: Work, trials: int, seed: int, scratch: Path) -> dict[str, Any]:
    """``trials`` trials of one kind of work against the same work left alone; one whose kills did not all hit is drawn again."""
    rng, folder = random.Random(seed), scratch / work.name
    alone = leave_alone(work, folder, scratch)
    bar, found, missed = Progress(trials, unit="trial"), [], 0
    for number in range(trials):
        for _ in range(MISSES):
            kills = 1 + (number % 5 == 0)
            one = trial(work, folder, scratch, alone, rng, number % 2 == 1, kills)
            if len(one["moments"]) == kills or not one["same"]:
                break
            missed += 1
        else:
            raise SystemExit(f"error: {work.name}: {MISSES} times in a row the work had ended before it was to be killed")
        found.append(one)
        bar.update(number + 1, f"{work.name}: {sum(t['same'] for t in found)} of {len(found)} the same")
    bar.close(f"{work.name}: {sum(t['same'] for t in found)} of {trials} ended as if never interrupted")
    shutil.rmtree(folder)
    struck = Counter(moment.split(", ")[0] if ", " in moment else "time" for t in found for moment in t["moments"])
    return {
        "trials": trials,
        "kills": sum(struck.values()),
        "missed": missed,
        "same": sum(t["same"] for t in found),
        "half_written": sum(len(t["broken"]) for t in found),
        "something_kept": sum(t["kept"] > 0 for t in found),
        "kept": sum(t["kept"] for t in found),
        "redone": sum(len(t["redone"]) for t in found),
        "struck": {where: struck[where] for where in ("time", "main", "worker")},
        "seconds_alone": round(alone.seconds, 2),
        "each": found,
    }


def copy_code(root: Path) -> Path:
    """A copy of what the work needs of the project, so that whoever edits it meanwhile changes no trial."""
    root.mkdir()
    shutil.copy(PROJECT_ROOT / "pyproject.toml", root)
    for part in ("ternary_lib", "configs", "results"):
        shutil.copytree(PROJECT_ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def main(arguments: list[str] | None = None) -> int:
    """Measure and write the result; status 1 where a trial did not end the same or left half a file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability", description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=50, metavar="N", help="trials of each kind of work (default: 50)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments (default: 0)")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS, metavar="WORK", help=f"add these to FILE: {', '.join(KINDS)}")
    default = records.results_dir() / "reliability.json"
    parser.add_argument("--output", type=Path, default=default, metavar="FILE", help="the JSON record to write, after each kind of work")
    given = parser.parse_args(arguments)
    if given.trials < 1 or not given.output.parent.is_dir() or given.output.is_dir():
        parser.error("expected --trials of at least 1 and an --output in a directory that exists")
    kept = records.read_json(given.output) if given.output.is_file() else {}
    found: dict[str, Any] = {"seed": given.seed, **records.provenance(), **{kind: kept[kind] for kind in KINDS if kind in kept}}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        root = copy_code(scratch / "code")
        for k, work in enumerate((training(root), sweep(scratch, root), book(root), pages(root))):
            if work.name in given.only:
                found[work.name] = {"seed": given.seed} | records.provenance() | measure(work, given.trials, given.seed + k, scratch)
                records.write_json(given.output, found)
    return int(any(found[kind]["same"] < given.trials or found[kind]["half_written"] for kind in given.only))


if __name__ == "__main__":
    sys.exit(main())
