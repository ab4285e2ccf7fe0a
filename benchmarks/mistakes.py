"""Mistakes at the command line: each gets one line that names it and exit status 2, and nothing is left behind.

Most are made from the schemas: every key of a configuration, of a sweep, of a notebook's parameters and of a run's record, misspelt and
with every value that it cannot have, and several of them at once as hypothesis draws them. Those of checkpoints are what real files suffer.

    python -m benchmarks.mistakes
"""

from __future__ import annotations

import argparse
import difflib
import io
import json
import math
import os
import pickle
import re
import sys
import tempfile
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import hypothesis
import yaml
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from ternary_lib import checkpoint, cli, notebooks, records
from ternary_lib.config import Config, dump_config, load_config
from ternary_lib.progress import Progress
from ternary_lib.sections import PriorMatchingConfig
from ternary_lib.sweep_files import SweepFile, Variant

FOLDER = "{folder}"  # in a command's arguments: the mistake's own folder
LONGEST = 500  # characters of a line that is still read
MATCHED = {"prior_matching": PriorMatchingConfig().model_dump(mode="json")}
SWEEP = {"name": "mine", "config": "configs/smoke.yaml", "seeds": [0], "variants": {"one": {"label": "one"}}}
SMALL = {
    "name": "mistakes", "data.train": 1536, "data.validation": 512, "schedules.total_epochs": 2, "schedules.phases": [1, 2, 2],
    "evaluation.budgets": [1000], "evaluation.final_draws": 1000, "evaluation.cell_draws": 8192, "evaluation.information_samples": 64,
    "training.checkpoint_every": 1,
}  # fmt: skip
# Words by which a line says what was expected, or what there is.
SAYS_WHAT = re.compile(
    r"should|expected|must|unknown|required|at (least|most)|did you mean|known: |no such|cannot be|not accepted|given (once|twice)"
    r"|choose another|nothing (else )?to"
)
LONG = "x" * 300  # no file system takes such a name
BOUNDED = {
    "data.train": 0, "model.latent_dim": 0, "model.decoder_b_blocks": -1, "schedules.total_epochs": 0, "schedules.rho.start": 1.01,
    "schedules.rho.gate_low": -0.1, "schedules.rho.ramp_epochs": 0, "schedules.tau_a.start": 0, "schedules.tau_a.period": 0,
    "schedules.tau_b.boost": 0, "schedules.beta.start": -0.1, "schedules.learning_rate.values": [0.001, 0, 1, 1, 1, 1, 1, 1],
    "schedules.learning_rate.milestones": [3, 2, 1], "schedules.phases": [3, 2, 1], "loss.repulsion_sigma": 0, "loss.latent_bins": 1,
    "prior_matching.draws": 0, "prior_matching.from_phase": 5, "prior_matching.memory": 1, "balance.momentum": 1.5,
    "balance.lambdas": [0.1, 0.7, 0.3], "balance.scale_bounds": [2, 1], "statenet.lr_bounds": [1, 0.1], "training.batch_size": 0,
    "training.grad_clip": 0, "evaluation.every": 0, "evaluation.budgets": [20, 10], "evaluation.final_draws": 1, "seed": -1,
    "name": "../up",
}  # fmt: skip


class Mistake(NamedTuple):
    """A command that somebody gives by mistake, the files and variables it finds, and the words that its line has to hold."""

    kind: str
    what: str
    arguments: tuple[str, ...]
    files: Mapping[str, bytes]
    words: tuple[str, ...]
    variables: Mapping[str, str] = types.MappingProxyType({})
    one_of: tuple[str, ...] = ("",)  # words of which one is enough


class Began(Exception):
    """Work began although the input was bad."""


# ------------------------------------------------------------------------------------------------- from the schemas


def kinds_of(annotation: Any) -> list[Any]:
    """The alternatives of an annotation, ``Annotated`` unwrapped."""
    if typing.get_origin(annotation) is typing.Annotated:
        return kinds_of(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [kind for part in typing.get_args(annotation) for kind in kinds_of(part)]
    return [annotation]


def leaves(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """(dotted key, field) of every leaf of a schema; an optional section counts as one that is given."""
    for name, field in section.model_fields.items():
        inner = [kind for kind in kinds_of(field.annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if inner:
            yield from leaves(inner[0], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def misspelt(key: str) -> str:
    """The key with its last word's middle letters swapped, or one letter doubled where that changes nothing."""
    head, _, last = key.rpartition(".")
    i = max(0, len(last) // 2 - 1)
    swapped = last[:i] + last[i : i + 2][::-1] + last[i + 2 :]
    return f"{head}.".lstrip(".") + (swapped if swapped != last else last[:1] + last)


def wrong_values(field: FieldInfo) -> dict[str, Any]:
    """Values that the field cannot have, by the fault."""
    allowed = kinds_of(field.annotation)
    origins = {typing.get_origin(kind) or kind for kind in allowed}
    found: dict[str, Any] = {}
    if list[str] not in allowed:
        found["a list of texts"] = ["x", "y"]
    if dict not in origins:
        found["a mapping"] = {"a": 1}
    if types.NoneType not in allowed:
        found["nothing"] = None
    if str not in origins:
        found["a text"] = "many"
    if bool not in origins:
        found["yes"] = True
    if origins & {int, float}:
        found |= {"not a number": math.nan, "without end": math.inf, "a list": [1]}
        if int in origins and float not in origins:
            found["a fraction"] = 1.5
    if typing.Literal in origins:
        found["another word"] = "nothing of the kind"
    if bool in origins:
        found["a number"] = 2
    return found


def with_key(data: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy with one dotted key changed."""
    made = json.loads(json.dumps(data))
    *parents, last = key.split(".")
    place = made
    for part in parents:
        place = place.setdefault(part, {})
    place[last] = value
    return made


def meant(wrong: str, key: str, known: Iterable[str]) -> tuple[str, ...]:
    """The words that name the key that was probably meant, where the misspelt one is nearest to it."""
    last, siblings = key.rpartition(".")[2], [k.rpartition(".")[2] for k in known if k.rpartition(".")[0] == key.rpartition(".")[0]]
    near = difflib.get_close_matches(wrong.rpartition(".")[2], siblings, n=1, cutoff=0.5)
    return (f"did you mean {last!r}?",) if near == [last] else ()


def in_configurations() -> Iterator[Mistake]:
    """``ternary train`` with a configuration that is wrong in one key."""
    arguments = ("train", "--config", f"{FOLDER}/mine.yaml", "--run-dir", f"{FOLDER}/run")

    def mistake(kind: str, what: str, key: str, value: Any, *words: str) -> Mistake:
        return Mistake(kind, what, arguments, {"mine.yaml": _yaml(with_key(MATCHED, key, value))}, words)

    known = dict(leaves(Config))
    for key, field in known.items():
        wrong = misspelt(key)
        yield mistake("configuration, a key misspelt", key, wrong, 1, f"{wrong}: unknown key", *meant(wrong, key, known))
        for fault, value in wrong_values(field).items():
            yield mistake("configuration, a value of another type", f"{key}: {fault}", key, value, key)
    for key, value in BOUNDED.items():  # a rule between several keys is named by their section
        section = key.rpartition(".")[0].partition(".")[0]
        yield mistake("configuration, a value out of bounds", key, key, value, section)


def in_sweeps() -> Iterator[Mistake]:
    """``ternary sweep`` with a file that is wrong in one key."""
    known = dict(leaves(SweepFile)) | dict(leaves(Variant, "variants.one."))
    for key, field in known.items():
        wrong = misspelt(key)
        faults = {"misspelt": (wrong, 1, (wrong, *meant(wrong, key, known)))}
        faults |= {fault: (key, value, (key.rpartition(".")[2],)) for fault, value in wrong_values(field).items()}
        for fault, (place, value, words) in faults.items():
            files = {"mine.yaml": _yaml(with_key(SWEEP, place, value))}
            yield Mistake("sweep file", f"{key}: {fault}", ("sweep", f"{FOLDER}/mine.yaml", "--output", f"{FOLDER}/store"), files, words)


def in_several_ways() -> Iterator[Mistake]:
    """``ternary train`` and ``ternary sweep`` with files that are wrong in one to four keys at once, drawn by hypothesis."""
    run, store = ("--run-dir", f"{FOLDER}/run"), ("--output", f"{FOLDER}/store")
    bounded = {key: [(key, value, key.rpartition(".")[0].partition(".")[0])] for key, value in BOUNDED.items()}
    config = _drawn(MATCHED, [_wrong(dict(leaves(Config))), bounded, _replaced(sections(Config))], Config, 200)
    of_sweep = dict(leaves(SweepFile)) | dict(leaves(Variant, "variants.one."))
    sweep = _drawn(SWEEP, [_wrong(of_sweep), _replaced(["variants", "variants.one"])], SweepFile, 100)
    for kind, command, more, found in (("configuration", ("train", "--config"), run, config), ("sweep file", ("sweep",), store, sweep)):
        for number, (data, words) in enumerate(found):
            arguments, files = (*command, f"{FOLDER}/mine.yaml", *more), {"mine.yaml": _yaml(data)}
            yield Mistake(f"{kind}, several faults at once", f"{number}: {', '.join(words)}", arguments, files, (), one_of=words)


def sections(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted keys of a schema's sections."""
    for name, field in section.model_fields.items():
        for kind in kinds_of(field.annotation):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield f"{prefix}{name}"
                yield from sections(kind, f"{prefix}{name}.")


Fault = tuple[str, Any, str]  # a key, what it is set to, and the word that names it


def _wrong(known: Mapping[str, FieldInfo]) -> dict[str, list[Fault]]:
    typed = {key: [(key, value, key) for value in wrong_values(field).values()] for key, field in known.items()}
    return {key: [(misspelt(key), 1, misspelt(key)), *faults] for key, faults in typed.items()}


def _replaced(keys: Iterable[str]) -> dict[str, st.SearchStrategy[Fault]]:
    # Sampled, not free: what hypothesis draws freely depends on the modules that happen to be loaded.
    scalar = st.sampled_from([None, True, 0, -1, 1.5, math.nan, "", "x", "a: 1", 10**30])
    name = st.sampled_from(["a", "start", "1", "", "extends", "variants"])
    value = st.recursive(scalar, lambda part: st.lists(part, max_size=3) | st.dictionaries(name, part, max_size=3), max_leaves=6)
    return {key: st.tuples(st.just(key), value, st.just(key)) for key in keys}


def _drawn(
    good: Mapping[str, Any], tables: list[Mapping[str, Any]], schema: type[BaseModel], number: int
) -> list[tuple[Any, tuple[str, ...]]]:
    """So many wrong copies of a mapping, each with the words of which its line is to hold one; always the same ones."""
    found: list[tuple[Any, tuple[str, ...]]] = []
    tables = [{key: v if isinstance(v, st.SearchStrategy) else st.sampled_from(v) for key, v in table.items()} for table in tables]
    fault = st.sampled_from(tables).flatmap(lambda table: st.sampled_from(list(table)).flatmap(table.__getitem__))

    unhurried = {"database": None, "deadline": None, "suppress_health_check": list(hypothesis.HealthCheck)}

    @hypothesis.seed(0)
    @hypothesis.settings(max_examples=number + 20, phases=[hypothesis.Phase.generate], **unhurried)
    @hypothesis.given(st.lists(fault, min_size=1, max_size=4))
    def draw(faults: list[Fault]) -> None:
        data: Any = good
        for key, value, _ in sorted(faults, key=lambda fault: -fault[0].count(".")):  # a section last: its keys go with it
            data = with_key(data, key, value)
        try:
            schema.model_validate_json(json.dumps(data))
        except ValidationError:
            if len(found) < number:
                found.append((data, tuple(dict.fromkeys(word for _, _, word in faults))))

    draw()
    if len(found) < number:
        raise ValueError(f"only {len(found)} of {number} draws were a mistake")
    return found


def in_parameters() -> Iterator[Mistake]:
    """``ternary notebook`` with a parameter of another name or type, for every parameter of every notebook."""
    for path in notebooks.list_notebooks():
        for name, parameter in notebooks.read_parameters(path).items():
            other = {"x": 1} if not isinstance(parameter.default, dict) else [1]
            for fault, values, word in (
                ("misspelt", {misspelt(name): parameter.default}, f"did you mean {name!r}"),
                ("of another type", {name: other}, name),
            ):
                arguments = ("notebook", path.stem, "-f", f"{FOLDER}/mine.yaml", "--output", f"{FOLDER}/out.ipynb")
                yield Mistake("notebook parameter", f"{path.stem}, {name}: {fault}", arguments, {"mine.yaml": _yaml(values)}, (word,))


def in_yaml() -> Iterator[Mistake]:
    """What YAML can spell and no configuration means, in a file, in ``--set`` and in a notebook's parameter."""
    texts = {
        "an empty number": "!!int ''", "a tag of Python": "!!python/object/apply:os.system ['true']", "no truth value": "!!bool foo",
        "no date": "!!timestamp foo", "a list for a mapping": "!!map [1]", "sixties without end": "1" + ":0" * 200 + ".0",
        "digits without end": "0x" + "f" * 5000, "an alias": "[&a [1], *a]", "brackets": "[" * 3000, "a list as a key": "{[1]: 2}",
        "a key twice": "{a: 1, a: 2}", "no end": "{a: [1", "a date": "2024-06-01", "nothing": "",
    }  # fmt: skip
    for what, text in texts.items():
        file = {"mine.yaml": f"training:\n  batch_size: {text}\n".encode()}
        run = ("--run-dir", f"{FOLDER}/run")
        yield Mistake("YAML", f"a file: {what}", ("train", "--config", f"{FOLDER}/mine.yaml", *run), file, ("mine.yaml",))
        arguments = ("train", "--config", "configs/smoke.yaml", "--set", f"training.batch_size={text}", *run)
        yield Mistake("YAML", f"--set: {what}", arguments, {}, ("training.batch_size",))
        arguments = ("notebook", "03_training", "-p", "seed", text, "--output", f"{FOLDER}/out.ipynb")
        yield Mistake("YAML", f"a parameter: {what}", arguments, {}, ("seed",))


def in_arguments() -> Iterator[Mistake]:
    """What no schema knows of: places that cannot be written, names that are too long, comparisons with nothing in them."""
    run, smoke = ("--run-dir", f"{FOLDER}/run"), "configs/smoke.yaml"
    own = {"file": b"in the way", "mine.yaml": b"extends: configs/smoke.yaml\nname: mine\n", "config.yaml": b"name: mine\n"}
    store = ("--output", f"{FOLDER}/store")
    for what, arguments, word in (
        ("a run below a file", ("train", "--config", smoke, "--run-dir", f"{FOLDER}/file/run"), "cannot be written"),
        ("a run beside somebody's own config.yaml", ("train", "--config", smoke, "--run-dir", FOLDER), "config.yaml"),
        ("a run of a long name", ("train", "--config", smoke, "--run-dir", f"{FOLDER}/{LONG}"), "name too long"),
        ("events below a file", ("train", "--config", smoke, *run, "--tensorboard", f"{FOLDER}/file/events"), "cannot be written"),
        ("events of a long name", ("train", "--config", smoke, *run, "--tensorboard", f"{FOLDER}/{LONG}"), "name too long"),
        ("a configuration of a long name", ("train", "--config", LONG), "no such configuration"),
        ("a checkpoint of a long name", ("evaluate", "--checkpoint", LONG), "no such checkpoint"),
        ("a notebook of a long name", ("notebook", LONG), "does not exist"),
        ("a copy of a long name", ("notebook", "03", "--output", f"{FOLDER}/{LONG}.ipynb"), "name too long"),
        ("a copy below a file", ("notebook", "03", "--output", f"{FOLDER}/file/out.ipynb"), "cannot be written"),
        ("a sweep stored below a file", ("sweep", "configs/sweeps/guide.yaml", "--output", f"{FOLDER}/file"), "cannot be written"),
        ("a sweep of a long name", ("sweep", f"{FOLDER}/{LONG}"), "no such configuration"),
        ("a benchmark below a file", ("benchmark", "--config", smoke, "--output", f"{FOLDER}/file/b.json"), "expected a file in a folder"),
        ("a book in a file", ("book", "--size", "smoke", "--output", f"{FOLDER}/file"), "is no folder"),
        ("a book of a long name", ("book", "--size", "smoke", "--output", f"{FOLDER}/{LONG}"), "name too long"),
        ("one seed to compare", ("compare", smoke, f"{FOLDER}/mine.yaml", *store, "--seeds", "0"), "at least two seeds"),
        ("a file with itself", ("compare", smoke, smoke, *store), "nothing else to compare"),
        ("a file alone", ("compare", smoke, *store), "nothing to be compared with"),
        ("an unknown reference", ("compare", smoke, f"{FOLDER}/mine.yaml", *store, "--reference", "smok"), "did you mean 'smoke'"),
        ("an unknown metric", ("compare", smoke, f"{FOLDER}/mine.yaml", *store, "--metrics", "coverag"), "did you mean 'coverage'"),
        ("a seed below zero", ("compare", smoke, f"{FOLDER}/mine.yaml", *store, "--seeds", "-1", "0"), "seed"),
    ):
        yield Mistake("arguments", what, arguments, own, (word,))


def in_variables() -> Iterator[Mistake]:
    """Environment variables that no command can work with."""
    wrong = {
        "TERNARY_DEVICE": ("abacus", "meta", "cuda:99"), "TERNARY_THREADS": ("0", "two", "²", "1000"), "TERNARY_STEP": ("banana", "Plain"),
        "TERNARY_PROGRESS": (f"{FOLDER}/none/progress", FOLDER, LONG),
    }  # fmt: skip
    commands = {
        "train": ("--config", "configs/smoke.yaml", "--run-dir", f"{FOLDER}/run"),
        "sweep": ("configs/sweeps/guide.yaml", "--output", f"{FOLDER}/store"),
        "benchmark": ("--config", "configs/smoke.yaml", "--output", f"{FOLDER}/b.json"),
    }
    for name, values in wrong.items():
        for value in values:
            for command, arguments in commands.items():
                yield Mistake("environment", f"{command}, {name}={value[:20]}", (command, *arguments), {}, (name,), {name: value})
    for value in ("javascript:alert(1)", "git@example.org:me/book", "https://me:secret@example.org/book"):
        arguments = ("book", "--size", "smoke", "--output", f"{FOLDER}/book")
        yield Mistake("environment", f"book, {value[:20]}", arguments, {}, ("TERNARY_REPOSITORY",), {"TERNARY_REPOSITORY": value})


def from_schemas() -> list[Mistake]:
    """Those that need no run."""
    return [*in_configurations(), *in_sweeps(), *in_several_ways(), *in_parameters(), *in_yaml(), *in_arguments(), *in_variables()]


# ------------------------------------------------------------------------------------------------- from a real run


def small_run(folder: Path) -> Path:
    """A finished run of two epochs."""
    from ternary_lib.training import train

    config = load_config("configs/smoke.yaml", SMALL)
    (folder / "small.yaml").write_text(dump_config(config), encoding="utf-8")
    return train(config, folder / "run", progress=False).run_dir


def in_records(run_dir: Path) -> Iterator[Mistake]:
    """A run's record without one of its parts, or with one of another type, read by ``train --resume`` and by ``compare``."""
    good = records.read_json(run_dir / "record.json")
    kept = {f"run/{path.name}": path.read_bytes() for path in run_dir.iterdir()}
    config = (run_dir.parent / "small.yaml").read_bytes()
    # The run as one of four that are compared; the other records are as they should be.
    sweep = _yaml(SWEEP | {"set": SMALL, "seeds": [0, 1], "variants": {"mistakes": {"label": "one"}, "other": {"label": "two"}}})
    stored = good | {"sweep": "mine", "variant": "mistakes", "label": "one", "pathways": ["a", "b"], "seed": 0}
    stored["config"] = good["config"] | {"seed": 0}
    broken: list[tuple[str, str, Any]] = [("no JSON", "", None)]
    for key, field in leaves(records.RunRecord):
        required = field.is_required()
        broken += [(f"{key}: missing", key, KeyError)] if required else []
        broken += [(f"{key}: {fault}", key, value) for fault, value in wrong_values(field).items()]
    column = "a.coverage.argmax.1000"
    measured = [  # read when runs are compared
        ("a column missing", "history", {name: values for name, values in good["history"].items() if name != column}, column),
        ("a column too short", "history", good["history"] | {column: []}, "list index"),
        ("a number missing", "final", _part(good["final"], "b.exact_test"), "exact_test"),
        ("a text for a number", "final", good["final"] | {"b": good["final"]["b"] | {"exact_test": "all"}}, "all"),
    ]
    compare = ("compare", f"{FOLDER}/mine.yaml", "--output", f"{FOLDER}/store", "--jobs", "1", "--quiet")
    resume = ("train", "--config", f"{FOLDER}/small.yaml", "--run-dir", f"{FOLDER}/run", "--resume")
    in_store = {"mine.yaml": sweep}
    for variant, seed in (("mistakes", 1), ("other", 0), ("other", 1)):
        again = stored | {"variant": variant, "seed": seed, "config": stored["config"] | {"name": variant, "seed": seed}}
        in_store[f"store/mine/{variant}-seed{seed}.json"] = _json(again)
    for what, key, value in broken:
        of_run, of_store = (
            None if not key else _part(data, key) if value is KeyError else with_key(data, key, value) for data in (good, stored)
        )
        words = (key or "not readable as JSON",)
        yield Mistake("run record, gone on with", what, resume, kept | {"small.yaml": config, "run/record.json": _json(of_run)}, words)
        yield Mistake("run record, compared", what, compare, in_store | {"store/mine/mistakes-seed0.json": _json(of_store)}, words)
    for what, key, value, word in measured:
        files = in_store | {"store/mine/mistakes-seed0.json": _json(stored | {key: value})}
        yield Mistake("run record, compared", what, compare, files, ("mistakes seed 0", word))


def in_checkpoints(run_dir: Path) -> Iterator[Mistake]:
    """What happens to files: cut, emptied, mixed up, made by something else, made to harm."""
    import torch

    path = run_dir / "last.safetensors"
    good, (tensors, meta) = path.read_bytes(), checkpoint.load(path)
    first = next(name for name in tensors if name.startswith("model/"))
    length = int.from_bytes(good[:8], "little")
    header = json.loads(good[8 : 8 + length])

    def saved(changed: Mapping[str, torch.Tensor], described: Any = meta) -> bytes:
        other = run_dir.parent / "changed.safetensors"
        checkpoint.save(other, dict(changed), described)
        return other.read_bytes()

    def headed(changed: Mapping[str, Any]) -> bytes:
        text = json.dumps(changed).encode()
        return len(text).to_bytes(8, "little") + text + good[8 + length :]

    files = {
        "empty": b"", "two bytes": good[:2], "half": good[: len(good) // 2], "one byte short": good[:-1], "one byte too many": good + b"\0",
        "a pickle": pickle.dumps({"model": [1, 2, 3]}), "a web page": b"<!DOCTYPE html><title>404</title>", "a pointer of Git LFS":
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a zip": b"PK\x03\x04" + bytes(60),
        "a header of 2^60 bytes": (2**60).to_bytes(8, "little") + good[8:],
        "a header of lists": good[:8] + b"[" * length + good[8 + length :],
        "a header without a type": headed({k: v if k != first else {"shape": [1]} for k, v in header.items()}),
        "a shape that does not fit": headed({k: v if k != first else v | {"shape": [10**9, 10**9]} for k, v in header.items()}),
        "offsets beyond the end": headed({k: v if k != first else v | {"data_offsets": [0, 10**15]} for k, v in header.items()}),
        "no description": headed({k: v for k, v in header.items() if k != "__metadata__"}),
        "a tensor missing": saved({k: v for k, v in tensors.items() if k != first}),
        "a tensor too many": saved(tensors | {"model/more": torch.zeros(3)}),
        "a tensor of another shape": saved(tensors | {first: torch.zeros(3)}),
        "of no configuration": saved(tensors, {"epoch": 2}), "of another network": saved(
            tensors, meta | {"config": with_key(meta["config"], "model.latent_dim", 12)}
        ),
        "of an unknown key": saved(tensors, meta | {"config": with_key(meta["config"], "model.latent_dims", 12)}),
        "of a list": saved(tensors, [1, 2]),
    }  # fmt: skip
    for what, data in files.items():
        arguments = ("evaluate", "--checkpoint", f"{FOLDER}/x.safetensors")
        yield Mistake("checkpoint", what, arguments, {"x.safetensors": data}, ("x.safetensors",))
    yield Mistake("checkpoint", "a folder", ("evaluate", "--checkpoint", FOLDER), {}, ())
    yield Mistake("checkpoint", "of no file", ("evaluate", "--checkpoint", f"{FOLDER}/none.safetensors"), {}, ("none.safetensors",))


def in_runs(run_dir: Path) -> Iterator[Mistake]:
    """``train --resume`` with a checkpoint that is well-formed and of no run that could go on, or with a record of another run."""
    import torch

    config, record = (run_dir.parent / "small.yaml").read_bytes(), records.read_json(run_dir / "record.json")
    tensors, meta = checkpoint.load(run_dir / "epoch_0001.safetensors")  # half of the run
    arguments = ("train", "--config", f"{FOLDER}/small.yaml", "--run-dir", f"{FOLDER}/run", "--resume")

    def mistake(what: str, word: str, changed: Mapping[str, Any], described: Any = meta) -> Mistake:
        made, path = {k: v for k, v in (tensors | changed).items() if v is not None}, run_dir.parent / "changed.safetensors"
        checkpoint.save(path, made, described)
        files = {"small.yaml": config, "run/config.yaml": config, "run/last.safetensors": path.read_bytes()}
        return Mistake("checkpoint, gone on with", what, arguments, files, (word,))

    for name in tensors:
        yield mistake(f"{name}: missing", "history" if name.startswith("history/") else name, {name: None})
        if not name.startswith("history/"):
            yield mistake(f"{name}: of another shape", name, {name: torch.zeros(7, dtype=tensors[name].dtype)})
            yield mistake(f"{name}: of another type", name, {name: tensors[name].to(torch.int32)})
    column = "history/a.coverage.argmax.1000"
    yield mistake("a tensor too many", "controller/more", {"controller/more": torch.zeros(2)})
    yield mistake("a column too many", "history/more", {"history/more": torch.zeros(1, dtype=torch.float64)})
    yield mistake("a column too long", "history", {column: torch.zeros(2, dtype=torch.int64)})
    yield mistake("a column of another type", column, {column: torch.zeros(1, dtype=torch.float64)})
    yield mistake("another epoch's history", "history", {"history/epoch": torch.tensor([1])})
    state = torch.full_like(tensors["generator/training"], 255)
    yield mistake("a generator in no state", "generator/training", {"generator/training": state})
    yield mistake("an optimiser's half", "statenet_optimizer", {"statenet_optimizer/0/step": torch.zeros(())})
    for key, field in leaves(checkpoint.RunMeta):
        yield mistake(f"{key}: missing", key, {}, _part(meta, key))
        for fault, value in wrong_values(field).items():
            yield mistake(f"{key}: {fault}", key, {}, with_key(meta, key, value))
    others = {"epoch": 0, "seconds.total": -1, "seconds.days": 1, "untrained.c": {}, "untrained.a.rate": "low", "step_path": "fast"}
    for key, value in others.items():
        yield mistake(f"{key} = {value}", key, {}, with_key(meta, key, value))
    for epoch in (2, 3):
        yield mistake(f"epoch = {epoch}", "history", {}, meta | {"epoch": epoch})
    finished = {f"run/{path.name}": path.read_bytes() for path in run_dir.iterdir()} | {"small.yaml": config}
    finished["run/record.json"] = _json(record | {"weights_sha256": "0" * 64})
    yield Mistake("checkpoint, gone on with", "a record of other weights", arguments, finished, ("record.json",))
    alone = {"small.yaml": config, "run/record.json": _json(record)}
    yield Mistake("checkpoint, gone on with", "a record without its weights", arguments, alone, ("last.safetensors",))


def from_run(run_dir: Path) -> list[Mistake]:
    """Those that begin with the files of a real run."""
    return [*in_records(run_dir), *in_checkpoints(run_dir), *in_runs(run_dir)]


# ------------------------------------------------------------------------------------------------- what comes of them


def fault(mistake: Mistake, folder: Path) -> str | None:
    """What is wrong with the answer to a mistake made in an empty folder; None where it is as it should be."""
    for name, data in mistake.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    out, err, before = io.StringIO(), io.StringIO(), _content(folder)
    try:
        variables = {name: value.replace(FOLDER, str(folder)) for name, value in mistake.variables.items()}
        with redirect_stdout(out), redirect_stderr(err), patch.dict(os.environ, variables), _no_work():
            status: Any = cli.main([argument.replace(FOLDER, str(folder)) for argument in mistake.arguments])
    except SystemExit as stopped:
        status = stopped.code
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    line = err.getvalue()
    if status != 2:
        return f"exit status {status}: {line[:200]}"
    if out.getvalue() or not line.startswith("error: ") or line.count("\n") != 1 or len(line) > LONGEST + len(str(folder)):
        return f"not one short line: {(out.getvalue() + line)[:200]!r}"
    if not SAYS_WHAT.search(line.partition(": ")[2].replace(str(folder), "")):
        return f"nothing in the line says what was expected: {line[:200]}"
    if missing := [word for word in mistake.words if word not in line]:
        return f"{missing[0]!r} is not in the line: {line[:200]}"
    if not any(word in line for word in mistake.one_of):
        return f"none of {', '.join(mistake.one_of)} is in the line: {line[:200]}"
    if _content(folder) != before:
        return "files were left behind or changed"
    return None


def measure(mistakes: Iterable[Mistake]) -> dict[str, dict[str, Any]]:
    """Every mistake made, by kind: how many, how many with the right answer, how many of the lines name what was meant, faults."""
    mistakes, found = list(mistakes), {}
    bar = Progress(len(mistakes), unit="mistake")
    for number, mistake in enumerate(mistakes):
        part = found.setdefault(mistake.kind, {"made": 0, "answered": 0, "meant": 0, "faults": []})
        with tempfile.TemporaryDirectory() as folder:
            wrong = fault(mistake, Path(folder))
        part["made"] += 1
        part["answered"] += wrong is None
        part["meant"] += wrong is None and any("did you mean" in word for word in mistake.words)
        part["faults"] += [f"{mistake.what}: {wrong}"] if wrong else []
        bar.update(number + 1, mistake.kind)
    bar.close(f"{len(mistakes)} mistakes, {sum(len(part['faults']) for part in found.values())} with another answer than they should get")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Measure and write the result; status 1 where a mistake got another answer."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mistakes", description=__doc__.splitlines()[0])
    default = records.results_dir() / "mistakes.json"
    parser.add_argument("--output", type=Path, default=default, metavar="FILE", help="the JSON record to write")
    given = parser.parse_args(arguments)
    if not given.output.parent.is_dir() or given.output.is_dir():
        parser.error("expected an --output in a directory that exists")
    with tempfile.TemporaryDirectory() as name:
        kinds = measure([*from_schemas(), *from_run(small_run(Path(name)))])
    records.write_json(given.output, {**records.provenance(), "kinds": kinds})
    return int(any(part["faults"] for part in kinds.values()))


@contextmanager
def _no_work() -> Iterator[None]:
    def begin(*_: Any, **__: Any) -> Any:
        raise Began("work began")

    with ExitStack() as held:
        for place in ("training.fast_step", "benchmark.measure", "sweeps._run_all", "notebooks.execute"):
            held.enter_context(patch(f"ternary_lib.{place}", begin))
        yield


def _content(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def _part(data: Mapping[str, Any], without: str) -> dict[str, Any]:
    first, _, rest = without.partition(".")
    return {key: _part(value, rest) if rest and key == first else value for key, value in data.items() if rest or key != first}


def _yaml(data: Mapping[str, Any]) -> bytes:
    return yaml.safe_dump(data, sort_keys=False).encode()


def _json(data: Any) -> bytes:
    return b"{" if data is None else json.dumps(data).encode()


if __name__ == "__main__":
    sys.exit(main())
