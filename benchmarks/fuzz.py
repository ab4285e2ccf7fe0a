"""Damaged files at every loader: each is read or refused with one line, and nothing else ever happens.

A good file of each kind is damaged at random (bytes changed, taken out, doubled, swapped, cut off, lines repeated, hostile words put
in) and given to the function that reads such files. What it may do is to return, or to raise ``InputError`` with one line.

    python -m benchmarks.fuzz --inputs 2000 --output results/fuzz.json
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ternary_lib import checkpoint, ledger, notebooks, records, sweep_files, weights
from ternary_lib.config import PROJECT_ROOT, dump_config, load_config
from ternary_lib.progress import Progress
from ternary_lib.strict_yaml import InputError

HOSTILE = [
    b"!!python/object/apply:os.system ['true']", b"&a [*a, *a]", b"*a", b"../../../etc/passwd", b"\0", b"\xff\xfe", b"1e999", b"-1",
    b".nan", b"9" * 400, b"[" * 3000, b"{" * 3000, b"null", b"<<: {}", b"\xe2\x80\xae", b"__class__", b"'", b'"', b"\n---\n", b"\t",
]  # fmt: skip
MAX_MEGABYTES = 400  # what damaged files may make a loader allocate


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The bytes with one to four faults."""
    made = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        # half of the faults in the first kilobytes, where a format's own description stands
        at = rng.randrange(min(len(made), 4096) if rng.random() < 0.5 else len(made)) if made else 0
        end = min(len(made), at + rng.choice((1, 2, 8, 64, 1024)))
        kind = rng.randrange(7)
        if kind == 0:
            made[at:end] = bytes(rng.randrange(256) for _ in range(end - at))
        elif kind == 1:
            del made[at:end]
        elif kind == 2:
            made[at:at] = made[at:end]
        elif kind == 3:
            made[at:at] = rng.choice(HOSTILE)
        elif kind == 4:
            made[at:end] = made[at:end][::-1]
        elif kind == 5:
            del made[at:]
        else:
            lines = made.split(b"\n")
            line = rng.randrange(len(lines))
            lines.insert(rng.randrange(len(lines) + 1), lines[line])
            made = bytearray(b"\n".join(lines))
    return bytes(made)


def loaders(scratch: Path) -> dict[str, tuple[bytes, str, Callable[[Path], Any]]]:
    """Of each kind of file: a good one's bytes, the ending of its name, and what reads it."""
    released = weights.RELEASED["ternary_v5_5"].path
    notebook = notebooks.find_notebook("03_training")
    parameters = (PROJECT_ROOT / "configs" / "papermill" / "10_transfer.production.yaml").read_bytes()
    target = notebooks.find_notebook("10_transfer")
    sweep = (PROJECT_ROOT / "configs" / "sweeps" / "guide.yaml").read_bytes().replace(b"../", b"configs/")  # it lies elsewhere here
    config = dump_config(load_config("configs/ternary_v6.yaml")).encode()
    return {
        "configuration": (config, ".yaml", load_config),
        "sweep": (sweep, ".yaml", sweep_files.load_sweep),
        "notebook parameters": (
            parameters, ".yaml", lambda path: notebooks.check_parameters(target, notebooks.collect_parameters([str(path)], [], []))
        ),
        "notebook": (notebook.read_bytes(), ".ipynb", notebooks.read_parameters),
        "run record": ((records.results_dir() / "runs" / "ternary_v6_seed42.json").read_bytes(), ".json", records.read_json),
        "claims ledger": ((records.results_dir() / "claims.yaml").read_bytes(), ".yaml", ledger.load),
        "checkpoint": (_checkpoint(scratch), ".safetensors", checkpoint.load),
        "released weights": (released.read_bytes(), ".safetensors", weights.load),
    }  # fmt: skip


def _checkpoint(scratch: Path) -> bytes:
    from ternary_lib.training import train

    small = {"data.train": 1536, "schedules.total_epochs": 2, "schedules.phases": [1, 2, 2], "evaluation.budgets": [1000]}
    small |= {"evaluation.final_draws": 1000, "evaluation.cell_draws": 8192, "evaluation.information_samples": 64}
    train(load_config("configs/smoke.yaml", small), scratch / "run", progress=False)
    return (scratch / "run" / "last.safetensors").read_bytes()


def measure(name: str, data: bytes, ending: str, load: Callable[[Path], Any], inputs: int, seed: int, scratch: Path) -> dict[str, Any]:
    """Give ``inputs`` damaged files of one kind to their loader."""
    rng, path = random.Random(f"{seed}-{name}"), scratch / f"damaged{ending}"
    path.write_bytes(data)
    load(path)  # the good one
    read, refused, faults, slowest, before = 0, 0, [], 0.0, _peak()
    bar = Progress(inputs, unit="file")
    for number in range(inputs):
        path.write_bytes(damaged(data, rng))
        clock = time.monotonic()
        try:
            load(path)
            read += 1
        except InputError as error:
            refused += 1
            if "\n" in str(error) or len(str(error)) > 1000:
                faults.append(f"input {number}: more than one short line: {str(error)[:200]!r}")
        except BaseException as error:
            faults.append(f"input {number}: {type(error).__name__}: {str(error)[:200]}")
        slowest = max(slowest, time.monotonic() - clock)
        bar.update(number + 1, name)
    bar.close(f"{name}: {inputs} damaged files, {refused} refused, {read} read, {len(faults)} faults")
    grown, slowest = round(_peak() - before), round(slowest, 2)
    return {"inputs": inputs, "refused": refused, "read": read, "faults": faults, "grown_mb": grown, "slowest_s": slowest}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MB: Linux counts in KiB


def main(arguments: list[str] | None = None) -> int:
    """Measure and write the result; status 1 where a loader did anything else than read or refuse."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=2000, metavar="N", help="damaged files of each kind (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the damage (default: 0)")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the JSON record to write")
    given = parser.parse_args(arguments)
    if given.inputs < 1 or not given.output.parent.is_dir() or given.output.is_dir():
        parser.error("expected --inputs of at least 1 and an --output in a directory that exists")
    found: dict[str, Any] = {"seed": given.seed, **records.provenance()}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        kinds = loaders(scratch)
        found["loaders"] = {kind: measure(kind, *parts, given.inputs, given.seed, scratch) for kind, parts in kinds.items()}
    records.write_json(given.output, found)
    bad = [fault for part in found["loaders"].values() for fault in part["faults"]]
    return int(bool(bad) or any(part["grown_mb"] > MAX_MEGABYTES for part in found["loaders"].values()))


if __name__ == "__main__":
    sys.exit(main())
