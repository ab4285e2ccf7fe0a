"""Training: one plain loop; an epoch is evaluated and saved in the background while the next one trains."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ternary_lib.checkpoint import CheckpointError, layout_of, require_layout
from ternary_lib.config import Config, ConfigError, config_hash
from ternary_lib.control import Controller, Controls
from ternary_lib.data import split_indices
from ternary_lib.evaluation import PATHWAYS, evaluate_epoch
from ternary_lib.fast_path import fast_step
from ternary_lib.files import claimed, remove_leftovers
from ternary_lib.hypergradient import LookAhead
from ternary_lib.journal import (
    Journal,
    Observer,
    Run,
    Saved,
    TrainingError,
    describe_break,
    is_finished,
    load_run,
    load_weights,
    open_run,
    require_size,
)
from ternary_lib.machine import subnormals_flushed, threads, training_device, training_settings
from ternary_lib.model import TernaryVAE
from ternary_lib.operations import all_operations
from ternary_lib.progress import Progress
from ternary_lib.randomness import stream
from ternary_lib.step import STEP_COLUMNS, Batch, Dials, Step, gradient_ratio
from ternary_lib.strict_yaml import one_line

# What the sums in a step's row are made of, in the order they are computed.
TERMS = ("ce_a", "kl_a", "ce_b", "kl_b", "output_entropy_b", "repulsion_b", "latent_entropy_a", "latent_entropy_b", "alignment")
WEIGHED = [STEP_COLUMNS.index(name) for name in ("scaled_loss_a", "scaled_loss_b", "alignment")]  # what λ₁, λ₂, λ₃ multiply


def train(config: Config, run_dir: str | Path, resume: bool = False, progress: bool = True, observe: Observer | None = None) -> Run:
    """Train to the last epoch and leave checkpoints and ``record.json`` in ``run_dir``.

    Every epoch is evaluated, or every k-th (``evaluation.every``), and the last.

    Args:
        config: the experiment.
        run_dir: created if missing.
        resume: continue from ``last.safetensors``, or return the run at once if it is finished; with nothing there, start.
        progress: show a line of progress.
        observe: called with the history (a column a name) after each evaluated epoch, and of a run that was finished before.

    Raises:
        ConfigError: ``run_dir`` holds a run and ``resume`` is off, or a run of another configuration or code; another
            process is at work there.
        TrainingError: the loss is no longer finite, or a checkpoint cannot be written.
    """
    run = train_together([config], [run_dir], resume, progress, [observe])[0]
    if observe and not run.epochs_trained_now:
        observe(run.history)
    return run


def train_together(
    configs: Sequence[Config],
    run_dirs: Sequence[str | Path],
    resume: bool = False,
    progress: bool = True,
    observers: Sequence[Observer | None] | None = None,
) -> list[Run]:
    """``train`` for several seeds of one configuration, their parameters stacked: one step updates them all.

    Each seed keeps its own directory, records and random streams, so that it can also go on alone.
    """
    _require_same_but_seed(configs)
    require_size(configs[0])
    paths = [Path(run_dir) for run_dir in run_dirs]
    with ExitStack() as held:
        for path in paths:
            if is_finished(configs[0], path):
                remove_leftovers(path)
            else:
                held.enter_context(claimed(path))
        return _train_all(configs, paths, resume, progress, observers or [None] * len(configs))


def _train_all(
    configs: Sequence[Config], paths: Sequence[Path], resume: bool, progress: bool, observers: Sequence[Observer | None]
) -> list[Run]:
    saved = [open_run(config, path, resume) for config, path in zip(configs, paths, strict=True)]
    total, runs = configs[0].schedules.total_epochs, {}
    stacks: dict[int, list[int]] = {}  # seeds that stand at the same epoch go on together
    for i, (path, state) in enumerate(zip(paths, saved, strict=True)):
        epoch = state.epoch if state else 0
        if epoch == total and (path / "record.json").is_file():
            runs[i] = load_run(path)
        else:
            stacks.setdefault(epoch, []).append(i)
    for members in stacks.values():
        parts = ([values[i] for i in members] for values in (configs, paths, saved, observers))
        runs |= zip(members, _train_stack(*parts, progress), strict=True)
    return [runs[i] for i in range(len(configs))]


def _train_stack(
    configs: list[Config], run_dirs: list[Path], saved: list[Saved | None], observers: list[Observer | None], progress: bool
) -> list[Run]:
    config, seeds = configs[0], len(configs)
    total = config.schedules.total_epochs
    with training_settings(config, seeds), ThreadPoolExecutor(1) as background:
        bar = Progress(total, progress)
        bar.note("preparing the training step (compiling it takes up to a minute, once)")
        trainer = Trainer(configs, saved[0] and saved[0].step_path, saved)
        journals = [Journal(*where, trainer.path, observe) for *where, observe in zip(configs, run_dirs, observers, strict=True)]
        for i, (journal, state) in enumerate(zip(journals, saved, strict=True)):
            if state is None:
                with threads(1):
                    journal.untrained = evaluate_untrained(trainer.models[i], configs[i])
            else:
                journal.restore(state)
        first, pending = trainer.epoch, []
        for epoch in range(first, total):
            began = time.monotonic()
            try:
                controls, means = trainer.train_epoch(epoch)
            except TrainingError:
                _wait(pending)  # what is wrong with the epoch before comes first
                raise
            for journal in journals:
                journal.seconds["train"] += time.monotonic() - began
            if (epoch + 1) % config.evaluation.every == 0 or epoch + 1 == total:
                _wait(pending)  # at most one epoch is being evaluated: memory stays flat, and an error there stops the run
                with threads(1):
                    pending = [
                        background.submit(journal.close_epoch, trainer.snapshot(i), *done)
                        for i, (journal, *done) in enumerate(zip(journals, controls, means, strict=True))
                    ]
                    if seeds > 1:  # a stack trains on every core: none is left to evaluate on meanwhile
                        _wait(pending)
            bar.update(epoch + 1, f"phase {controls[0].phase} · loss {means[0]['total']:.3f} · {trainer.path} steps")
        _wait(pending)
        runs = [journal.finish(total - first) for journal in journals]
        bar.close(runs[0].describe() if seeds == 1 else f"{seeds} seeds together. {runs[-1].describe()}")
    return runs


def _wait(pending: list[Future]) -> None:
    for future in pending:
        future.result()


class Trainer:
    """Everything that training changes, for one seed or several stacked: weights, optimiser, controllers, random streams."""

    def __init__(self, configs: Config | Sequence[Config], path: str | None = None, saved: Sequence[Saved | None] = ()) -> None:
        configs = [configs] if isinstance(configs, Config) else list(configs)
        _require_same_but_seed(configs)
        self.config = config = configs[0]
        self.configs = configs
        self.device = training_device()
        self.models = [TernaryVAE(c.model, stream(c.seed, "weights")).to(self.device) for c in configs]
        self.controllers = [Controller(c, model.statenet, self.device) for c, model in zip(configs, self.models, strict=True)]
        self.generators = [stream(c.seed, "training", device=self.device) for c in configs]
        self.operations = all_operations()[split_indices(config.data).train].to(self.device)
        self.step = Step(config, self.device)
        self.state = self.step.initial_state(self.models)
        self.look_ahead = LookAhead(self.step)
        self.epoch = 0
        self.means: list[dict[str, float]] | None = None
        for member, state in enumerate(saved):
            if state is not None:
                self.restore(state, member)  # before a minute is spent on compiling: the file may be damaged
        self.path, self.path_reason, self.run_step = fast_step(self.step, self.state, path)

    def train_epoch(self, epoch: int) -> tuple[list[Controls], list[dict[str, float]]]:
        """One pass over the training set: each seed's controls and the means of its steps."""
        controls = [
            controller.begin_epoch(epoch, self.means and self.means[i], self._ratio(i)) for i, controller in enumerate(self.controllers)
        ]
        self._require_finite(controls)
        dials = Dials.of(controls, self.device)
        looks = self.controllers[0].signal == "hypergradient" and self.controllers[0].corrected
        every, batches, by_all = self.config.statenet.hypergradient_interval, self._batches(controls[0].phase), []
        log, rows = torch.zeros(len(controls), len(STEP_COLUMNS), device=self.device), []
        with subnormals_flushed():
            for step, batch in enumerate(batches):
                if looks and step % every == 1:
                    by_all.append(self.look_ahead.after(self.state, batch, dials))
                if looks and step % every == 0 and step + 1 < len(batches):
                    self.look_ahead.before(self.state, batch, dials)
                rows.append(self.run_step(self.state, batch, dials).clone())  # a recorded step gives the same tensor each time
                log += rows[-1]
        if not torch.isfinite(log).all():
            raise TrainingError(self._describe_break(epoch, torch.stack(rows)))
        self.means = [dict(zip(STEP_COLUMNS, row, strict=True)) for row in (log / len(batches)).tolist()]
        by_lambda = log[:, WEIGHED] / len(batches)
        for i, controller in enumerate(self.controllers):
            controller.end_epoch(by_lambda[i], torch.stack(by_all).mean(0)[i] if by_all else None)
        self.epoch = epoch + 1
        return controls, self.means

    def _batches(self, phase: int = 1) -> list[Batch]:
        """An epoch's batches, every seed in an order and with draws from its own stream; the last may be smaller."""
        size, latent, n = self.config.training.batch_size, self.config.model.latent_dim, len(self.operations)
        matching = self.config.prior_matching
        draws = matching.draws if matching and phase >= matching.from_phase else 0
        orders = [torch.randperm(n, generator=g, device=self.device) for g in self.generators]
        x = self.operations[torch.stack(orders)]  # [seeds, n, 9]
        noise = [torch.randn(2 * n * latent, generator=g, device=self.device) for g in self.generators]
        drawn = torch.stack(noise).split(2 * size * latent, dim=1)  # [seeds, 2·batch·latent] each
        prior = [torch.randn(len(drawn), draws, latent, generator=g, device=self.device) for g in self.generators]
        return [
            Batch(*map(_packed, (part.to(epsilon.dtype), part + 1, epsilon.unflatten(1, (2, -1, latent)), z)))
            for part, epsilon, z in zip(x.split(size, dim=1), drawn, torch.stack(prior, dim=1), strict=True)
        ]

    def _ratio(self, member: int) -> float:
        measured = self.epoch > 0 or self.config.balance.initial_norm is not None
        return gradient_ratio(self.state.norms[member]) if measured else 1.0

    def _require_finite(self, controls: Sequence[Controls]) -> None:
        # What StateNet corrects. A gradient's ratio may be infinite: a pathway that is not trained has no gradient.
        for member, of in enumerate(controls):
            for name in ("lambda_1", "lambda_2", "lambda_3", "learning_rate_applied"):
                if not math.isfinite(value := getattr(of, name)):
                    where = f"epoch {of.epoch}, before its first step, seed {self.configs[member].seed}"
                    raise TrainingError(describe_break(where, name, value, of.epoch - of.epoch % self.config.evaluation.every))

    def _describe_break(self, epoch: int, rows: Tensor) -> str:
        # The first step in which something is not finite, and there the term that the sums have it from: [steps, seeds, columns]
        step, member = (~torch.isfinite(rows)).any(-1).nonzero()[0].tolist()
        values = dict(zip(STEP_COLUMNS, rows[step, member].tolist(), strict=True))
        name = next(name for name in (*TERMS, *STEP_COLUMNS) if not math.isfinite(values[name]))
        saved = epoch - epoch % self.config.evaluation.every
        where = f"epoch {epoch}, step {step} of {len(rows)}, seed {self.configs[member].seed}"
        return describe_break(where, name, values[name], saved)

    def snapshot(self, member: int = 0) -> dict[str, Tensor]:
        """Copies of everything a bitwise resume of one seed needs; training may go on while they are evaluated and written."""
        controller, state = self.controllers[member], self.state
        tensors = {f"model/{name}": value[member] for name, value in self.step.unflatten(state.theta).items()}
        tensors |= {f"model/statenet.{name}": value for name, value in controller.statenet.state_dict().items()}
        tensors |= {f"optimizer/{name}": getattr(state, name)[member] for name in ("exp_avg", "exp_avg_sq", "powers")}
        tensors["controller/gradient_norms"] = state.norms[member]
        tensors |= {"prior_matching/memory": state.memory[member]} if self.config.prior_matching else {}
        tensors |= _optimizer_tensors("statenet_optimizer", controller.optimizer)
        tensors["controller/lambdas"] = controller.lambdas
        tensors["controller/rho"] = torch.tensor(controller.permeability.rho, dtype=torch.float64)
        tensors["generator/training"] = self.generators[member].get_state()
        return {name: value.detach().clone() for name, value in tensors.items()}

    def restore(self, saved: Saved, member: int = 0) -> None:
        """Continue one seed from its checkpoint as if never interrupted.

        Raises:
            CheckpointError: the checkpoint lacks something of this seed's state, or holds something else; one line.
        """
        model, controller, state, tensors = self.models[member], self.controllers[member], self.state, saved.tensors
        self._require_fit(saved, member)
        load_weights(model, tensors)
        state.theta[member].copy_(self.step.flatten(dict(model.named_parameters())))
        state.exp_avg[member].copy_(tensors["optimizer/exp_avg"])
        state.exp_avg_sq[member].copy_(tensors["optimizer/exp_avg_sq"])
        state.powers[member].copy_(tensors["optimizer/powers"])
        state.norms[member].copy_(tensors["controller/gradient_norms"])
        if self.config.prior_matching:
            state.memory[member].copy_(tensors["prior_matching/memory"])
        _restore_optimizer("statenet_optimizer", controller.optimizer, tensors)
        controller.lambdas = tensors["controller/lambdas"].to(self.device)
        controller.permeability.rho = float(tensors["controller/rho"])
        try:
            self.generators[member].set_state(tensors["generator/training"])
        except RuntimeError as error:
            reason = f"expected the state of a random number generator ({one_line(error)})"
            raise CheckpointError(f"{saved.file}: generator/training: {reason}") from None
        self.epoch = saved.epoch
        self.means = self.means or [{} for _ in self.configs]
        self.means[member] = {name: float(tensors[f"history/train.{name}"][-1]) for name in STEP_COLUMNS}

    def _require_fit(self, saved: Saved, member: int) -> None:
        # What a checkpoint of this seed holds is what it would save now, and StateNet's optimiser once that has made a step.
        found = {name: value for name, value in saved.tensors.items() if not name.startswith("history/")}
        wanted = self.snapshot(member)
        if any(name.startswith("statenet_optimizer/") for name in found):
            for index, parameter in enumerate(self.controllers[member].statenet.parameters()):
                parts = {"step": torch.zeros(()), "exp_avg": parameter, "exp_avg_sq": parameter}
                wanted |= {f"statenet_optimizer/{index}/{name}": value for name, value in parts.items()}
        require_layout(saved.file, layout_of(found), layout_of(wanted))


def evaluate_untrained(model: TernaryVAE, config: Config) -> dict[str, Any]:
    """Coverage and reconstruction of the network before its first step, the first epoch's ρ and τ: a baseline."""
    controls = Controller(config, model.statenet).begin_epoch(0, None)
    row = evaluate_epoch(model, config, controls, split_indices(config.data), config.evaluation.final_draws)
    return {name: {k[2:]: v for k, v in row.items() if k.startswith(f"{name}.")} for name in PATHWAYS}


def _packed(values: Tensor) -> Tensor:
    # A slice keeps the strides of what it was cut from, and a compiled step is compiled anew for other strides.
    return values.clone(memory_format=torch.contiguous_format)


def _require_same_but_seed(configs: Sequence[Config]) -> None:
    same = {config_hash(config.model_copy(update={"seed": 0})) for config in configs}
    if len(same) > 1 or len({config.seed for config in configs}) < len(configs):
        raise ConfigError("seeds trained together must differ in their seed and in nothing else")


def _optimizer_tensors(name: str, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    states = optimizer.state_dict()["state"]
    return {f"{name}/{index}/{key}": value for index, state in states.items() for key, value in state.items()}


def _restore_optimizer(name: str, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(f"{name}/"):
            _, index, field = key.split("/")
            state.setdefault(int(index), {})[field] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
