"""Ratios measured side by side: the library and what it is compared with take turns, so that the machine's noise meets both.

    python -m benchmarks.ratios --trials 7 --output results/ratios.json
    python -m benchmarks.ratios --trials 3 --output results/ratios.json --only epoch roofline

A ratio is theirs ÷ ours (how many times faster), or, where a bound is named, ours ÷ theirs, or the value itself. The file is
written after every measurement, so that a run cut short keeps what it has; ``--only`` adds to it. Nothing here asserts a time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from benchmarks import peer, plain, roofline, scaling, seconds
from benchmarks.roofline import Workload
from ternary_lib import records, settings
from ternary_lib.config import PROJECT_ROOT, Config, load_config
from ternary_lib.control import Controls
from ternary_lib.coverage import CHUNK, MODES, distinct, draw_indices
from ternary_lib.data import split_indices
from ternary_lib.evaluation import PATHWAYS, coverage_counts, validation_loss
from ternary_lib.journal import Journal, load_weights
from ternary_lib.machine import evaluation_threads, threads
from ternary_lib.model import TernaryVAE
from ternary_lib.randomness import stream
from ternary_lib.strict_yaml import InputError
from ternary_lib.training import Trainer, train

CONFIG = "configs/ternary_v5_5.yaml"
DEFAULT_THREADS = torch.get_num_threads()  # torch's own choice, which the plain loop keeps
MEMORY_RUN = "from benchmarks.ratios import train_in_memory; print(train_in_memory())"


class Kind(NamedTuple):
    """What a row compares, and the goal set for it."""

    what: str
    goal: float | None = None
    at_most: bool = False
    unit: str = "s"


ROWS = {
    "help": Kind("ternary --help, in seconds", 0.5, True),
    "import": Kind('python -c "import ternary_lib", in seconds', None, True),
    "memory": Kind("peak memory of three compiled production epochs with their evaluation, in MB", 700, True, "MB"),
    "count_set": Kind("counting the different operations among decoded draws: ours against a Python set of tuples", 50),
    "coverage_set": Kind("drawing, decoding and counting (expectation, decoder B): the same; the forward pass is in both"),
    "coverage_set_a": Kind("drawing, decoding and counting, decoder A"),
    "coverage_floor_a": Kind("coverage in every decode mode ÷ decoder A's forward pass and the draws alone", 3, True),
    "coverage_floor_b": Kind("coverage in every decode mode ÷ decoder B's forward pass and the draws alone", 3, True),
    "epoch": Kind("one epoch: training, validation, coverage of both pathways in every mode: ours against the plain loop", 5),
    "epoch_one": Kind("the same, the plain loop on one thread: threads that wait for each other suffer from whatever else runs"),
    "epoch_set": Kind("the same, the plain loop counting in a Python set of tuples"),
    "epoch_whole": Kind("all that training does in an epoch, reconstruction and saving included, against the plain loop's less work"),
    "steps_pythae_a": Kind("an epoch's training steps: both our pathways against pythae's trainer with pathway A alone", 10),
    "steps_pythae_b": Kind("an epoch's training steps: both our pathways against pythae's trainer with pathway B alone", 10),
    "steps_pythae_sum": Kind("an epoch's training steps: both our pathways against pythae's trainer with A, then B"),
    "seeds10": Kind("a step of ten seeds stacked, every core ÷ a step of one, one thread; as in training", 3, True),
    "seeds10_plain": Kind("the same, both with the plain step", None, True),
    "seeds10_queue": Kind("a step of ten seeds stacked ÷ ten lone steps one after another on one core", None, True),
}


class Job(NamedTuple):
    """What to measure: the experiment, how often, in how many draws and steps, and which keys."""

    config: Config
    trials: int
    draws: int
    steps: int
    quick: bool
    wanted: frozenset[str]


Found = Iterator[tuple[str, str, Any]]  # section of the record, key, value


# --- bookkeeping ---------------------------------------------------------------------------------------------------


def alternate(trials: int, *sides: Callable[[], float]) -> list[list[float]]:
    """Values of each side, one a trial, after one that warms up; the sides take turns, in reversed order every second trial.

    Raises:
        RuntimeError: something was compiled meanwhile, so that the times are not those of the work.
    """
    values: list[list[float]] = [[] for _ in sides]
    for side in sides:
        side()
    before = _programs()
    for trial in range(trials):
        order = range(len(sides))
        for side in order if trial % 2 == 0 else reversed(order):
            values[side].append(sides[side]())
    if _programs() != before:
        raise RuntimeError("a program was compiled within the timed part")
    return values


def row(key: str, ours: list[float], theirs: list[float] | None = None, note: str = "") -> dict[str, Any]:
    """One comparison: all values of both sides, and median, lowest and highest of the trials' ratios."""
    kind = ROWS[key]
    pairs = list(zip(ours, theirs, strict=True)) if theirs is not None else [(value, 1.0) for value in ours]
    ratio = [a / b if kind.at_most else b / a for a, b in pairs]
    spread = (statistics.median(ratio), min(ratio), max(ratio)) if ratio else (None, None, None)
    return {
        "what": kind.what,
        "goal": kind.goal,
        "at_most": kind.at_most,
        "unit": kind.unit,
        "ours": ours,
        "theirs": theirs or [],
        "ratio": ratio,
        **dict(zip(("median", "low", "high"), spread, strict=True)),
        "note": note,
    }


class OtherWork:
    """How many cores other processes keep busy: on a machine that is not quiet, threads that wait for each other suffer most."""

    def __init__(self) -> None:
        self.before = self._now()

    def cores(self) -> float | None:
        """On average since this was made; None where the system does not say."""
        if self.before is None:
            return None
        wall, busy, own = (b - a for a, b in zip(self.before, self._now(), strict=True))
        return round(max(0.0, busy - own) / wall, 2)

    @staticmethod
    def _now() -> tuple[float, float, float] | None:
        try:
            user, nice, system = Path("/proc/stat").read_text(encoding="ascii").split()[1:4]
        except OSError:
            return None
        return time.monotonic(), (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK"), sum(os.times()[:4])


def line(section: str, key: str, value: Any) -> str:
    """One line of what was found."""
    if section != "rows":
        return f"{section}.{key}" + (f" = {value:.4g}" if isinstance(value, float) else "")
    if value["median"] is None:
        return f"{key:17} {value['note']}"
    unit = "×" if value["theirs"] else value["unit"]
    goal = "" if value["goal"] is None else f" · goal {'≤' if value['at_most'] else '≥'} {value['goal']:g}"
    sides = [f"{name} {statistics.median(value[name]):.4g}" for name in ("ours", "theirs") if value[name]]
    busy = f" · {value['other_load']:.1f} cores busy elsewhere" if value.get("other_load") else ""
    spread = f"{value['median']:8.3g} {unit} ({value['low']:.3g} to {value['high']:.3g})"
    return f"{key:17} {spread}{goal} · {', '.join(sides)} {value['unit']}{busy}"


def _programs() -> int:
    return counters["stats"]["unique_graphs"]


def _compiled_from() -> str:
    """Whether the last program came from the compiler's cache; called before another is compiled."""
    hits, misses = (counters["inductor"][f"fxgraph_cache_{name}"] for name in ("hit", "miss"))
    return "nothing compiled" if not hits + misses else "from its cache" if not misses else "anew"


# --- start-up and memory -------------------------------------------------------------------------------------------


def start_up(job: Job) -> Found:
    """Seconds of the smallest commands, each in a process of its own."""
    script = Path(sys.executable).with_name("ternary")
    ternary = [str(script)] if script.exists() else [sys.executable, "-m", "ternary_lib"]
    bare, help_, import_ = alternate(
        job.trials, *(partial(_process_seconds, c) for c in ([sys.executable, "-c", ""], [*ternary, "--help"], IMPORT))
    )
    note = f"python -c '' alone: {statistics.median(bare):.3f} s"
    yield "rows", "help", row("help", help_, note=note)
    yield "rows", "import", row("import", import_, note=note)


IMPORT = [sys.executable, "-c", "import ternary_lib"]


def _process_seconds(command: list[str]) -> float:
    return seconds(lambda: subprocess.run(command, cwd=PROJECT_ROOT, stdout=subprocess.DEVNULL, check=True))


def memory(job: Job) -> Found:
    """Peak memory of a short production run, in a process of its own."""
    command = [sys.executable, "-c", MEMORY_RUN]
    environment = os.environ | {"TERNARY_STEP": "compiled"}
    values = []
    for _ in range(min(job.trials, 3)):
        done = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=True)
        values.append(float(done.stdout.splitlines()[-1]))
    note = "resident memory of the training process, the compiler's own processes not counted; a tenth of the final cell draws"
    yield "rows", "memory", row("memory", values, note=note)


def train_in_memory() -> float:
    """MB this process held at most while three epochs of the production configuration were trained."""
    overrides = {"schedules.total_epochs": 3, "evaluation.cell_draws": 1_968_300}
    with TemporaryDirectory(prefix="ratios-") as folder:
        train(load_config(CONFIG, overrides), folder, progress=False)
    return high_water(Path("/proc/self/status").read_text(encoding="ascii"))


def high_water(status: str) -> float:
    """The most resident memory in MB (10⁶ bytes), from what the kernel tells of a process; its "kB" are 1,024 bytes."""
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024 / 1e6


# --- coverage ------------------------------------------------------------------------------------------------------


def coverage_set(job: Job) -> Found:
    """Coverage as the sources count it, rounding the expectation, against our draws and mask."""
    model, workers = trained(job.config), evaluation_threads()
    for name, key in (("b", "coverage_set"), ("a", "coverage_set_a")):
        decoder = _decoder(model, name)
        ours = partial(_on_pool, workers, lambda pool, d=decoder: _cover(d, job.draws, ("expectation",), pool))
        theirs = partial(_on_threads, DEFAULT_THREADS, lambda d=decoder: plain.coverage(d, job.draws, "expectation", plain.count_set))
        note = f"{job.draws:,} draws; ours on {workers} threads, theirs on {DEFAULT_THREADS}; the decoder's forward pass is in both"
        yield "rows", key, row(key, *alternate(job.trials, ours, theirs), note)
    indices = draw_indices(_decoder(model, "b"), job.draws, ("expectation",), torch.Generator().manual_seed(0))["expectation"]
    operations = indices[:, None] // plain.POWERS % 3 - 1  # [n, 9]
    sides = (partial(_on_threads, 1, lambda: distinct(indices)), partial(_on_threads, 1, lambda: plain.count_set(operations)))
    note = f"{job.draws:,} draws of decoder B, {distinct(indices):,} different; ours from indices, theirs from rows; one thread"
    yield "rows", "count_set", row("count_set", *alternate(job.trials, *sides), note)


def coverage_floor(job: Job) -> Found:
    """Coverage in every decode mode against what it cannot do without: the draws and the decoder's forward pass."""
    model, workers = trained(job.config), evaluation_threads()
    for name in PATHWAYS:
        decoder, key = _decoder(model, name), f"coverage_floor_{name}"
        ours = partial(_on_pool, workers, lambda pool, d=decoder: _cover(d, job.draws, MODES, pool))
        floor = partial(_on_pool, workers, lambda pool, d=decoder: _forward(d, job.draws, pool))
        draws = partial(_on_threads, 1, lambda: list(_draws(job.draws)))
        alone = partial(_on_threads, 1, lambda d=decoder: _cover(d, job.draws, ("argmax",), None))
        values = alternate(job.trials, ours, floor, draws, alone)
        note = f"{job.draws:,} draws in chunks of {CHUNK:,}; both on {workers} threads"
        yield "rows", key, row(key, *values[:2], note)
        parts = ("every_mode", "forward_and_draws", "draws_one_thread", "argmax_one_thread")
        yield "floor", name, dict(zip(parts, map(statistics.median, values), strict=True))


def trained(config: Config, epochs: int = 2) -> TernaryVAE:
    """The model after a few epochs: an untrained one finds few operations, and a small set is quickly counted."""
    with threads(1):
        trainer = Trainer(config, "plain")
        for epoch in range(epochs):
            trainer.train_epoch(epoch)
        model = TernaryVAE(config.model)
        load_weights(model, trainer.snapshot())
    return model


def _decoder(model: TernaryVAE, name: str) -> nn.Module:
    return getattr(model, f"pathway_{name}").decoder


def _cover(decoder: nn.Module, draws: int, modes: tuple[str, ...], pool: Executor | None) -> list[int]:
    return [distinct(found) for found in draw_indices(decoder, draws, modes, torch.Generator(), pool=pool).values()]


def _draws(number: int, latent: int = 16) -> Iterator[Tensor]:
    generator = torch.Generator()
    for _ in range(0, number, CHUNK):
        yield torch.randn(CHUNK, latent, generator=generator)


def _forward(decoder: nn.Module, number: int, pool: Executor) -> None:
    def decode(z: Tensor) -> None:
        with torch.inference_mode():
            decoder(z)

    list(pool.map(decode, _draws(number)))


def _on_pool(workers: int, call: Callable[[Executor], Any]) -> float:
    with threads(1), ThreadPoolExecutor(workers) as pool:
        return seconds(lambda: call(pool))


def _on_threads(number: int, call: Callable[[], Any]) -> float:
    with threads(number):
        return seconds(call)


# --- epochs --------------------------------------------------------------------------------------------------------


EPOCH_SIDES = {
    "epoch": ("same", "plain"), "epoch_one": ("same", "one"), "epoch_set": ("same", "set"), "epoch_whole": ("whole", "plain"),
}  # fmt: skip


class OurEpochs:
    """Epoch after epoch; while one trains, the weights of the one before are evaluated in the background, as in ``train``."""

    def __init__(self, config: Config, folder: str) -> None:
        counters.clear()
        self.config, self.split = config, split_indices(config.data)
        with threads(1):
            self.compile_seconds = seconds(lambda: setattr(self, "trainer", Trainer(config)))
        self.compiled = _compiled_from()
        self.model = TernaryVAE(config.model)
        self.journal = Journal(config, Path(folder), self.trainer.path)
        self.background = ThreadPoolExecutor(1)
        with threads(1):
            self.done = self._train()

    def epoch(self, evaluate: Callable[[dict[str, Tensor], Controls, dict[str, float]], Any]) -> float:
        """Seconds of one epoch of training and of the evaluation of the one before, together."""
        return _on_threads(1, lambda: self._epoch(evaluate))

    def same_work(self, snapshot: dict[str, Tensor], controls: Controls, means: dict[str, float]) -> None:
        """What the plain loop measures: the validation loss and both pathways' coverage in every mode."""
        load_weights(self.model, snapshot)
        with torch.inference_mode(), ThreadPoolExecutor(evaluation_threads()) as pool:
            validation_loss(self.model, self.config, controls, self.split.validation)
            for name in PATHWAYS:
                generator = stream(self.config.seed, "coverage", name, controls.epoch)
                pathway = getattr(self.model, f"pathway_{name}")
                coverage_counts(pathway, self.config.evaluation, generator, self.config.model.latent_dim, pool=pool)

    def _epoch(self, evaluate: Callable[..., Any]) -> None:
        pending = self.background.submit(evaluate, *self.done)
        self.done = self._train()
        pending.result()

    def _train(self) -> tuple[dict[str, Tensor], Controls, dict[str, float]]:
        controls, means = self.trainer.train_epoch(self.trainer.epoch)
        return self.trainer.snapshot(), controls[0], means[0]


def epochs(job: Job) -> Found:
    """Our epoch against the plain loop's, from the same initial weights."""
    budgets = tuple(n for n in job.config.evaluation.budgets if n <= job.draws) or (job.draws,)
    config = job.config.model_copy(update={"evaluation": job.config.evaluation.model_copy(update={"budgets": budgets})})
    draws, model = budgets[-1], TernaryVAE(config.model, stream(config.seed, "weights"))
    loop = plain.PlainTrainer(config, model)
    with TemporaryDirectory(prefix="ratios-") as folder:
        ours = OurEpochs(config, folder)

        def theirs(number: int, count: Callable[[Tensor], int]) -> float:
            return _on_threads(number, lambda: (loop.epoch(ours.done[1]), plain.evaluate(model, draws, count)))

        sides = {
            "same": lambda: ours.epoch(ours.same_work),
            "whole": lambda: ours.epoch(ours.journal.close_epoch),
            "plain": lambda: theirs(DEFAULT_THREADS, plain.count_indices),
            "one": lambda: theirs(1, plain.count_indices),
            "set": lambda: theirs(DEFAULT_THREADS, plain.count_set),
        }
        taken = {side for key, pair in EPOCH_SIDES.items() if key in job.wanted for side in pair}
        names = [name for name in sides if name in taken]
        values = dict(zip(names, alternate(job.trials, *(sides[name] for name in names)), strict=True))
    note = (
        f"{draws:,} draws; ours: {ours.trainer.path} steps on one thread, the epoch before evaluated meanwhile by {evaluation_threads()} "
        f"threads; theirs on {DEFAULT_THREADS} threads unless one is named; "
        f"preparing our step, not counted: {ours.compile_seconds:.1f} s, {ours.compiled}"
    )
    for key, (left, right) in EPOCH_SIDES.items():
        if key in job.wanted:
            yield "rows", key, row(key, values[left], values[right], note)


def steps(job: Job) -> Found:
    """Our training epochs of both pathways against pythae's of one, all on one thread."""
    import pythae.pipelines  # noqa: F401  # before anything is compiled for it

    with threads(1):
        trainer = Trainer(job.config)

    def theirs(pathway: str) -> float:
        return peer.train_seconds(pathway, epochs=3, threads=1)["seconds_per_epoch"]

    ours, a, b = alternate(
        job.trials,
        lambda: _on_threads(1, lambda: trainer.train_epoch(trainer.epoch)),
        lambda: theirs("a"),
        lambda: theirs("b"),
    )
    note = f"{trainer.path} steps, batches and controls included; a trial of pythae's is the mean of two epochs after one that warms up"
    both = [x + y for x, y in zip(a, b, strict=True)]
    for key, values in (("steps_pythae_a", a), ("steps_pythae_b", b), ("steps_pythae_sum", both)):
        yield "rows", key, row(key, ours, values, note)


def seeds(job: Job) -> Found:
    """Ten seeds stacked against one, in steps alone."""
    for path, keys in ((None, ("seeds10", "seeds10_queue")), ("plain", ("seeds10_plain",))):
        if not job.wanted.intersection(keys):
            continue
        one, ten = Workload(job.config, 1, path), Workload(job.config, 10, path)
        stacked, lone = partial(ten.step_seconds, job.steps), partial(one.step_seconds, job.steps)
        note = f"{ten.trainer.path} steps, the stack on {ten.workers} threads; means of {job.steps} steps"
        yield "rows", keys[0], row(keys[0], *alternate(job.trials, stacked, lone), note)
        if path is None:
            queue = partial(_queue_seconds, one, job.steps)
            note += "; two lone runs side by side, one a core, would halve the queue's time"
            yield "rows", keys[1], row(keys[1], *alternate(job.trials, stacked, queue), note)


def _queue_seconds(one: Workload, steps: int) -> float:
    return 10 * one.step_seconds(10 * steps)


# --- the machine ---------------------------------------------------------------------------------------------------


def roof(job: Job) -> Found:
    """What the machine can do and how much of it a step uses."""
    for name, value in roofline.measure(job.config, job.trials, job.quick):
        yield "roofline", name, value


def curve(measurement: Callable[..., Iterator[tuple[str, Any]]], job: Job) -> Found:
    """How cost grows, in one respect."""
    for name, value in measurement(job.config, job.trials, job.quick):
        yield "scaling", name, value


GROUPS: list[tuple[tuple[str, ...], Callable[[Job], Found]]] = [
    (("help", "import"), start_up),
    (("coverage_set", "coverage_set_a", "count_set"), coverage_set),
    (("coverage_floor_a", "coverage_floor_b"), coverage_floor),
    (tuple(EPOCH_SIDES), epochs),
    (("steps_pythae_a", "steps_pythae_b", "steps_pythae_sum"), steps),
    (("seeds10", "seeds10_plain", "seeds10_queue"), seeds),
    (("memory",), memory),
    (("roofline",), roof),
    *(((f"scaling_{m.__name__}",), partial(curve, m)) for m in (scaling.batch, scaling.seeds, scaling.draws, scaling.space)),
]
KEYS = [key for keys, _ in GROUPS for key in keys]


def header(trials: int) -> dict[str, Any]:
    """By what code, on what machine and when."""
    return {
        "library_commit": records.library_commit(),
        "versions": records.versions(),
        "hardware": records.hardware(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "trials": trials,
        "threads": {"torch": DEFAULT_THREADS, "evaluation": evaluation_threads()},
    }


def begin(path: Path, trials: int, only: list[str] | None) -> dict[str, Any]:
    """The record to fill: a new one, or the file's, whose head stays and which notes what is measured again, by what and when."""
    record = header(trials) | {"rows": {}, "floor": {}, "roofline": {}, "scaling": {}}
    if not only or not path.is_file():
        return record
    again = {"keys": only, **header(trials)}
    record |= records.read_json(path)
    return record | {"amended": [*record.get("amended", []), again]}


def measure(job: Job, record: dict[str, Any], keep: Callable[[], Any]) -> int:
    """Fill the record's sections, calling ``keep`` after every measurement; returns how many groups failed."""
    failed = 0
    for keys, group in GROUPS:
        if not job.wanted.intersection(keys):
            continue
        done, others = set(), OtherWork()
        try:
            for section, key, value in group(job):
                done.add(key)
                if section == "rows" and key not in job.wanted:
                    continue  # came along with another one
                if section == "rows":
                    value["other_load"] = others.cores()
                record[section][key] = value
                keep()
                print(line(section, key, value), flush=True)
        except Exception as error:  # the other groups still run
            failed += not isinstance(error, ImportError)
            reason = f"not measured: {' '.join(str(error).split())[:200]}"
            print(f"{', '.join(k for k in keys if k not in done)}: {reason}", file=sys.stderr, flush=True)
            for key in job.wanted.intersection(keys) & ROWS.keys() - done:
                if not record["rows"].get(key, {}).get("ratio"):  # what was measured before stays
                    record["rows"][key] = row(key, [], note=reason)
            keep()
    return failed


def main(arguments: list[str] | None = None) -> int:
    """Measure and write; status 1 where a measurement failed, 2 on bad input, 130 where interrupted."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ratios", description="Ratios measured side by side.")
    parser.add_argument("--trials", type=int, default=7, help="of each measurement (default: 7)")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the JSON record to write")
    parser.add_argument("--only", nargs="+", choices=KEYS, metavar="KEY", help=f"add these to FILE: {', '.join(KEYS)}")
    parser.add_argument("--quick", action="store_true", help="fewer draws, steps and sizes: a trial of this program, not of the machine")
    given = parser.parse_args(arguments)
    if given.trials < 1 or not given.output.parent.is_dir():
        parser.error("expected --trials of at least 1 and an --output in a directory that exists")
    try:
        settings.check()
        config = load_config(CONFIG)
        size = (20_000, 10) if given.quick else (config.evaluation.budgets[-1], 100)
        job = Job(config, given.trials, *size, given.quick, frozenset(given.only or KEYS))
        record = begin(given.output, given.trials, given.only)
        return min(1, measure(job, record, lambda: records.write_json(given.output, record)))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what was measured is kept", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
