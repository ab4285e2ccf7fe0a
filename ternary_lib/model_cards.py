"""A model card for each released weight file, written from the file and the record of its run: no figure is typed.

    python -m ternary_lib.model_cards [RUN_DIR …]     # release the weights of these runs and write their cards; no run: write every card
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ternary_lib import weights
from ternary_lib.config import InputError
from ternary_lib.coverage import MODES, efficiency, uniform_coverage
from ternary_lib.files import write_atomically
from ternary_lib.operations import NUM_OPERATIONS
from ternary_lib.records import load_record
from ternary_lib.report import MEASURES
from ternary_lib.strict_yaml import print_error
from ternary_lib.weights import RELEASED, Release

WHAT = {
    "ternary_v5_5": "Ternary VAE v5.5 as its authors describe it: the run that this book is about",
    "ternary_v5_5_published": "Ternary VAE v5.5 as its public implementation behaves",
    "ternary_v5_5_published_best": "Ternary VAE v5.5 as its public implementation behaves, at the run's lowest validation loss",
    "ternary_v6": "The network of Ternary VAE v5.5, trained so that prior draws stay uniform and reconstruction exact to the last epoch",
}
TEMPLATE = """\
# {name}

{what}. Two variational autoencoders, A and B, over the {operations:,} binary operations on three truth values.

```python
from ternary_lib import load_model

model = load_model("{name}")
```

{facts}
## Architecture

{parameters:,} parameters: pathway A {a:,}, pathway B {b:,}, StateNet {statenet:,}
(it steered the training and has no part in encoding or decoding).
Each pathway maps nine trits to a Gaussian over {latent} dimensions, and {latent} numbers to the logits of nine positions × three values.

## Data and training

All 3⁹ = {operations:,} tables of nine trits, split by seed {split_seed}:
{train:,} for training, {validation:,} for validation and {test:,} for testing.
AdamW, batches of {batch}, {epochs} epochs in four phases.
Every number is in `configs/{config}.yaml` and in the file's own metadata.

## Figures of epoch {epoch}

One run of one seed, so no interval is given; the chapter on versions compares seeds, as far as their runs are recorded. Coverage counts
operations among draws from the prior; efficiency is 1 for a uniform generator.

{figures}
{coverage}
## For what, and for what not

Meant for studying this system: its latent space, its coverage, fine-tuning to a family of operations.
Not a generator to rely on: enumerating all tables is exact and quicker.

{limits}
"""
Row = tuple[str, ...]


def card(name: str) -> str:
    """The Markdown card of a released file."""
    item = RELEASED[name]
    model, config, controls = weights.load(item.path)
    record = load_record(item.record)
    at, epochs = record["history"]["epoch"].index(controls.epoch), config.schedules.total_epochs
    last = controls.epoch + 1 == epochs
    sizes = {part: sum(p.numel() for p in module.parameters()) for part, module in model.named_children()}
    return TEMPLATE.format(
        name=name,
        what=WHAT[name],
        operations=NUM_OPERATIONS,
        facts=_table(("what", "value"), _facts(item, record, last)),
        parameters=sum(sizes.values()),
        a=sizes["pathway_a"],
        b=sizes["pathway_b"],
        statenet=sizes["statenet"],
        latent=config.model.latent_dim,
        split_seed=config.data.split_seed,
        train=config.data.train,
        validation=config.data.validation,
        test=NUM_OPERATIONS - config.data.train - config.data.validation,
        batch=config.training.batch_size,
        epochs=epochs,
        config=config.name,
        epoch=controls.epoch,
        figures=_table(("what", "pathway A", "pathway B"), _figures(record, at, last)),
        coverage=_table(("coverage, % (efficiency)", "draws", "uniform", "pathway A", "pathway B"), _coverage(record, at)),
        limits="\n".join(f"- {line}" for line in _limits(record, at)),
    )


def _facts(item: Release, record: Mapping[str, Any], last: bool) -> list[Row]:
    model, config, controls = weights.load(item.path)
    how = "the last; nothing was chosen by its result" if last else "that of the lowest validation loss, chosen on the validation set"
    size, minutes, torch = item.path.stat().st_size / 1024, record["seconds"]["total"] / 60, record["versions"]["torch"]
    machine = f"{record['hardware']['cpu']}, {record['hardware']['cores']} cores"
    return [
        ("file", f"`results/weights/{item.path.name}`, {size:.0f} KiB, safetensors, float32, no optimiser state"),
        ("run", f"configuration `{config.name}`, seed {config.seed}; record `results/runs/{item.record}.json`"),
        ("epoch", f"{controls.epoch} of 0 to {config.schedules.total_epochs - 1}: {how}"),
        ("trained", f"{record['started'][:10]} in {minutes:.1f} minutes, torch {torch}, {machine}"),
        ("SHA-256 of the weights", f"`{weights.weights_hash(model)}`"),
        ("licence", weights.LICENCE),
    ]


def _figures(record: Mapping[str, Any], at: int, last: bool) -> list[Row]:
    history, rows = record["history"], []
    for label, key, scale, form in MEASURES:
        rows.append((label, *(format(scale * history[f"{p}.{key}"][at], form) for p in "ab")))
    if last:
        for label, key, form in (
            ("KL of the cell masses to uniform, nats", "kl_to_uniform", ".4f"),
            (f"smallest cell mass × {NUM_OPERATIONS:,}", "smallest_cell", ".3f"),
        ):
            rows.append((label, *(format(record["final"][p][key], form) for p in "ab")))
    return rows


def _coverage(record: Mapping[str, Any], at: int) -> list[Row]:
    rows = []
    for mode in MODES:
        for n in record["config"]["evaluation"]["budgets"]:
            found = [record["history"][f"{p}.coverage.{mode}.{n}"][at] / NUM_OPERATIONS for p in "ab"]
            cells = (f"{100 * c:.2f} ({efficiency(c, n):.3f})" for c in found)
            rows.append((mode, f"{n:,}", f"{100 * uniform_coverage(n):.3f}", *cells))
    return rows


def _limits(record: Mapping[str, Any], at: int) -> list[str]:
    history, n = record["history"], record["config"]["evaluation"]["budgets"][-1]
    untrained = [100 * record["untrained"][p][f"coverage.categorical.{n}"] / NUM_OPERATIONS for p in "ab"]
    lines = [
        f"Coverage alone proves little: untrained, the same network reaches {untrained[0]:.2f} % (A) and {untrained[1]:.2f} % (B) of the "
        f"operations in {n:,} draws when each entry is drawn at random."
    ]
    for p in "ab":
        exact = [100 * value for value in history[f"{p}.exact_all"]]
        found = [100 * count / NUM_OPERATIONS for count in history[f"{p}.coverage.argmax.{n}"]]
        first = {name: history["epoch"][values.index(max(values))] for name, values in (("exact", exact), ("found", found))}
        lines += [
            f"Pathway {p.upper()} in this epoch, beside its best of the run: exact reconstruction {exact[at]:.2f} % "
            f"(best {max(exact):.2f} %, first in epoch {first['exact']}); coverage in {n:,} argmax draws {found[at]:.2f} % "
            f"(best {max(found):.2f} %, first in epoch {first['found']})."
        ]
    return [*lines, "The data are every table there is: nothing here says how such a network does where only a sample can be seen."]


def _table(heads: Sequence[str], rows: Sequence[Row]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads), *("| " + " | ".join(row) + " |" for row in rows)]
    return "\n".join(lines) + "\n"


def main(run_dirs: Sequence[str]) -> int:
    """Release the weights of some runs and write their cards, or every card; status 2 and one line where that cannot be."""
    try:
        released = [name for run_dir in run_dirs for name in weights.release_run(run_dir)]
        for name in released or RELEASED:
            write_atomically(RELEASED[name].path.with_suffix(".md"), card(name).encode())
    except InputError as error:
        print_error(error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
