"""Training: one plain loop; each epoch is evaluated and saved in the background while the next one trains."""

from __future__ import annotations

import math
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ternary_lib.config import Config
from ternary_lib.control import Controller, Controls
from ternary_lib.data import split_indices
from ternary_lib.evaluation import PATHWAYS, evaluate_epoch
from ternary_lib.hypergradient import LookAhead
from ternary_lib.journal import Journal, Run, load_run, load_weights, open_run
from ternary_lib.losses import LossBreakdown, total_loss
from ternary_lib.machine import training_device, training_settings
from ternary_lib.model import TernaryVAE
from ternary_lib.operations import all_operations
from ternary_lib.progress import Progress
from ternary_lib.randomness import stream

STEP_COLUMNS = (*LossBreakdown._fields, "grad_norm_a", "grad_norm_b")


class TrainingError(RuntimeError):
    """Training cannot go on; the message is one line."""


def train(config: Config, run_dir: str | Path, resume: bool = False, progress: bool = True) -> Run:
    """Train to the last epoch, evaluating every one, and leave checkpoints and ``record.json`` in ``run_dir``.

    Args:
        config: the experiment.
        run_dir: created if missing.
        resume: continue from ``last.safetensors``, or return the run at once if it is finished; with nothing there, start.
        progress: show a line of progress.

    Raises:
        ConfigError: ``run_dir`` holds a run and ``resume`` is off, or a run of another configuration or code.
        TrainingError: the loss is no longer finite.
    """
    run_dir = Path(run_dir)
    saved = open_run(config, run_dir, resume)
    if saved is not None and (run_dir / "record.json").is_file():
        return load_run(run_dir)
    with training_settings(config), ThreadPoolExecutor(1) as background:
        trainer = Trainer(config)
        journal = Journal(config, run_dir)
        if saved is None:
            journal.untrained = evaluate_untrained(trainer.model, config)
        else:
            trainer.restore(*saved)
            journal.restore(*saved)
        bar, first, pending = Progress(config.schedules.total_epochs, progress), trainer.epoch, None
        for epoch in range(first, config.schedules.total_epochs):
            controls, means = trainer.train_epoch(epoch)
            _wait(pending)  # at most one epoch is being evaluated: memory stays flat, and an error there stops the run
            pending = background.submit(journal.close_epoch, trainer.snapshot(), controls, means)
            bar.update(epoch + 1, f"phase {controls.phase} · loss {means['total']:.3f}")
        _wait(pending)
        run = journal.finish(config.schedules.total_epochs - first)
        bar.close(run.describe())
    return run


def _wait(pending: Future | None) -> None:
    if pending is not None:
        pending.result()


class Trainer:
    """Everything that training changes: weights, optimiser, controller, random stream."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.device = training_device()
        self.model = TernaryVAE(config.model, stream(config.seed, "weights")).to(self.device)
        self.theta, self.cut = flatten(self.model)
        self.optimizer = torch.optim.AdamW([self.theta], weight_decay=config.training.weight_decay, fused=True)
        self.controller = Controller(config, self.model.statenet, self.device)
        self.split = split_indices(config.data)
        self.operations = all_operations()[self.split.train].to(self.device)
        self.generator = stream(config.seed, "training", device=self.device)
        self.epoch = 0
        self.means: dict[str, float] | None = None
        parameters = [p for path in (self.model.pathway_a, self.model.pathway_b) for p in path.parameters()]
        self.look_ahead = LookAhead(self.optimizer, self.theta, parameters, config.training.grad_clip)

    def train_epoch(self, epoch: int) -> tuple[Controls, dict[str, float]]:
        """One pass over the training set: the epoch's controls and the means of its steps."""
        size = self.config.training.batch_size
        controls = self.controller.begin_epoch(epoch, self.means)
        self.optimizer.param_groups[0]["lr"] = controls.learning_rate_applied
        order = torch.randperm(len(self.operations), generator=self.generator, device=self.device)
        x = self.operations[order]
        batches = list(zip(x.float().split(size), (x + 1).split(size), strict=True))
        log = torch.zeros(len(STEP_COLUMNS), device=self.device)
        looks, every = self.controller.signal == "hypergradient", self.config.statenet.hypergradient_interval
        for step, (inputs, classes) in enumerate(batches):
            look = looks and step % every == 0 and step + 1 < len(batches)
            log += self._step(inputs, classes, controls, look, looks and step % every == 1)
        self.controller.end_epoch(len(batches))
        self.means = dict(zip(STEP_COLUMNS, (log / len(batches)).tolist(), strict=True))
        self.epoch = epoch + 1
        for name, mean in self.means.items():
            if not math.isfinite(mean):
                raise TrainingError(f"epoch {epoch}: {name} is {mean}; the last good state is in last.safetensors")
        return controls, self.means

    def _step(self, x: Tensor, classes: Tensor, controls: Controls, look: bool, looked: bool) -> Tensor:
        """One update; ``look`` prepares a look-ahead from it and ``looked`` evaluates that of the step before."""
        controller, clip = self.controller, self.config.training.grad_clip
        output = self.model(x, controls.tau_a, controls.tau_b, controls.rho, self.generator)
        scales = controller.balance.scales()
        betas = (controls.beta_a, controls.beta_b)
        losses = total_loss(output, classes, betas, controller.lambdas, scales, self.config.loss)
        if looked and controls.learning_rate_applied:
            next_loss = losses.loss_a + losses.loss_b
            controller.lookahead.append(self.look_ahead.after(next_loss, controls.learning_rate_applied))
        if look:
            self.look_ahead.before(self.look_ahead.term_gradients(losses, scales), controller.lambdas)
        self.theta.grad.zero_()
        losses.total.backward()
        norms = torch.stack([torch.linalg.vector_norm(part) for part in self.theta.grad.tensor_split([self.cut])])
        factor = (clip / (torch.linalg.vector_norm(norms) + 1e-6)).clamp(max=1)
        self.theta.grad.mul_(factor)
        seen = norms * factor if self.config.balance.norm_after_clip else norms
        controller.balance.update(seen, controls.ema_momentum)
        self.optimizer.step()
        return torch.stack([*(value.detach() for value in losses), *norms])

    def snapshot(self) -> dict[str, Tensor]:
        """Copies of everything a bitwise resume needs; training may go on while they are evaluated and written."""
        state = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        state |= _optimizer_tensors("optimizer", self.optimizer)
        state |= _optimizer_tensors("statenet_optimizer", self.controller.optimizer)
        state["controller/lambdas"] = self.controller.lambdas
        state["controller/rho"] = torch.tensor(self.controller.permeability.rho, dtype=torch.float64)
        if self.controller.balance.norms is not None:
            state["controller/gradient_norms"] = self.controller.balance.norms
        state["generator/training"] = self.generator.get_state()
        return {name: value.detach().clone() for name, value in state.items()}

    def restore(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Continue from a checkpoint as if never interrupted."""
        load_weights(self.model, tensors)
        _restore_optimizer("optimizer", self.optimizer, tensors)
        _restore_optimizer("statenet_optimizer", self.controller.optimizer, tensors)
        self.controller.lambdas = tensors["controller/lambdas"].to(self.device)
        self.controller.permeability.rho = float(tensors["controller/rho"])
        if "controller/gradient_norms" in tensors:
            self.controller.balance.norms = tensors["controller/gradient_norms"].to(self.device)
        self.generator.set_state(tensors["generator/training"])
        self.epoch = meta["epoch"]
        last = {name: float(tensors[f"history/train.{name}"][-1]) for name in STEP_COLUMNS}
        self.means = last


def evaluate_untrained(model: TernaryVAE, config: Config) -> dict[str, Any]:
    """Coverage and reconstruction of the network before its first step, the first epoch's ρ and τ: a baseline."""
    controls = Controller(config, model.statenet).begin_epoch(0, None)
    row = evaluate_epoch(model, config, controls, split_indices(config.data), config.evaluation.final_draws)
    return {name: {k[2:]: v for k, v in row.items() if k.startswith(f"{name}.")} for name in PATHWAYS}


def flatten(model: TernaryVAE) -> tuple[nn.Parameter, int]:
    """Lay both pathways' parameters and gradients into one vector each: (vector, where pathway B begins).

    One vector makes zeroing, norms, clipping and the optimiser one operation each instead of one a layer.
    """
    parts = [list(pathway.parameters()) for pathway in (model.pathway_a, model.pathway_b)]
    theta = nn.Parameter(torch.cat([p.detach().reshape(-1) for part in parts for p in part]))
    theta.grad = torch.zeros_like(theta)
    offset = 0
    for parameter in (p for part in parts for p in part):
        size = parameter.numel()
        parameter.data = theta.data[offset : offset + size].view_as(parameter)
        parameter.grad = theta.grad[offset : offset + size].view_as(parameter)
        offset += size
    return theta, sum(p.numel() for p in parts[0])


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


