"""The schedule explorer: sliders over τ and ρ, in two forms that draw the same curves from `ternary_lib.schedules`.

`schedule_explorer` needs a running kernel and changes every number; `schedule_frames` needs none: its drawings are
computed beforehand and the page's own scripts pick one as a slider moves.
"""

from __future__ import annotations

import contextlib
import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as w
import yaml
from ipywidgets.widgets.widget_string import HTMLStyle

from ternary_lib import explorer, records
from ternary_lib.config import PROJECT_ROOT, WORK_ROOT, Config, ConfigError, config_from_mapping, load_config
from ternary_lib.explorer_svg import AS_MEASURED, CLOSED, OPEN, curves, gate_ratios, rho_panel, round_up, tau_panel

PRESETS = (*(f"configs/{name}.yaml" for name in ("ternary_v5_5", "ternary_v5_5_published", "ternary_v6", "ternary_v5_5_fast", "smoke")),
           *(f"configs/ladder/v5_{k}.yaml" for k in range(5)))  # fmt: skip


def _named(name: str) -> dict[str, Any]:
    """Label a control; without a tooltip the widget would show the word "null"."""
    return {"description": name, "tooltip": name, "style": {"description_width": "11em"}}


def _wide() -> w.Layout:
    return w.Layout(width="98%", max_width="40rem")


COLUMNS = {key: key for key in ("tau_a", "tau_b", "rho", "beta_a", "beta_b", "grad_ratio")} | {"learning_rate": "learning_rate_applied"}


def measured_columns(cfg: Config, *runs: Any) -> dict[str, list[float]]:
    """Give what the first of `runs` (or records) that is of `cfg`, with whatever seed, says of its schedules, by column.

    Empty where none is: a run of other losses or another control has as many epochs and says nothing of `cfg`.
    """
    for run in runs:
        record = getattr(run, "record", run) or {}
        seed = record.get("config", {}).get("seed", cfg.seed)
        if records.same_config(record, cfg.model_copy(update={"seed": seed})):
            history = getattr(run, "history", None) or record.get("history", {})
            columns = {key: list(history[column]) for key, column in COLUMNS.items() if column in history}
            return {key: values for key, values in columns.items() if len(values) == cfg.schedules.total_epochs}
    return {}


def committed_records() -> list[dict[str, Any]]:
    """Read every record under `results/runs`."""
    return [records.read_run(path) for path in sorted((records.results_dir() / "runs").glob("*.json"))]


def difference(values: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Give the keys of `values` that differ from `base`, section by section.

    >>> difference({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 0}, "d": 3})
    {'a': {'c': 2}}
    """
    changed = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), Mapping):
            value = difference(value, base[key])
            if value:
                changed[key] = value
        elif value != base.get(key):
            changed[key] = value
    return changed


def write_schedule(cfg: Config, folder: Path | str | None = None) -> tuple[Path, Path]:
    """Write `cfg` as a configuration and, for papermill, a parameter file that names it; give both paths.

    The configuration holds what differs from the library's defaults and is read back before this returns. `folder` is
    the project's `configs/` where it is left out. Raises ConfigError where a file not of its making is in the way.
    """
    folder = Path(folder) if folder is not None else WORK_ROOT / "configs"
    target, parameters = folder / f"{cfg.name}.yaml", folder / "papermill" / f"{cfg.name}.yaml"
    for path in (target, parameters):
        if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(explorer.MARK):
            raise ConfigError(
                f"{path.name}: a file of that name exists and was not written by the explorer: choose another name"
            )
    changed = {"name": cfg.name, **difference(cfg.model_dump(mode="json"), Config().model_dump(mode="json"))}
    inside = target.resolve().is_relative_to(PROJECT_ROOT)
    named = target.resolve().relative_to(PROJECT_ROOT).as_posix() if inside else str(target.resolve())
    parameters.parent.mkdir(parents=True, exist_ok=True)
    for path, content in ((target, changed), (parameters, {"config": named, "seed": cfg.seed})):
        path.write_text(f"{explorer.MARK}\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}", encoding="utf-8")
    if load_config(target) != cfg:
        raise ConfigError(f"{target.name}: does not read back to the schedule shown")
    return target, parameters


# ---------------------------------------------------------------------------------------- the live form, for a kernel

class ScheduleExplorer(w.VBox):
    """Sliders over the schedules of `cfg`: `controls` by key, the drawing in `plot`, one line of news in `message`."""

    def __init__(self, cfg: Config, record: Any = None, folder: Path | str | None = None) -> None:
        """Build the controls at the values of `cfg`; `record` lends what its run did, the gate's ratios included.

        A preset that it is not of gets what the committed record of a run of that preset says, where there is one.
        """
        self.first, self.base, self.folder = cfg, cfg, folder
        self.runs = [*([record] if record else []), *committed_records()]
        self.run = measured_columns(cfg, *self.runs)
        self.production = load_config(PRESETS[0]).schedules
        self.controls, groups = self._sliders()
        presets = [(cfg.name, ""), *((Path(path).stem, path) for path in PRESETS if Path(path).stem != cfg.name)]
        self.preset = w.Dropdown(options=presets, **_named("Start from"))
        self.gate = w.ToggleButtons(options=explorer.gates(self.run), **_named("Gate in phase 3"))
        self.closed = w.IntRangeSlider(**_named("Closed in epochs"), layout=_wide())
        policies = [(words, policy) for policy, words in explorer.POLICIES.items()]
        self.policy = w.ToggleButtons(options=policies, value=cfg.schedules.rho.gate, **_named("When closed"))
        self.show_run = w.Checkbox(False, **_named("Show what the run did"))
        self.name = w.Text(value="my_schedule", **_named("Name"))
        self.save = w.Button(description="Write YAML", icon="save", tooltip="Write these schedules as a configuration")
        self.reset = w.Button(description="Reset", icon="undo", tooltip="Go back to what it started from")
        self.plot, self.message = w.HTML(), w.HTML()
        tabs = w.Accordion(
            children=[w.VBox(group) for group in groups.values()], titles=tuple(groups), selected_index=0
        )
        buttons = w.HBox([self.name, self.save, self.reset], layout={"flex_flow": "row wrap"})
        super().__init__([self.preset, self.plot, self.gate, self.closed, self.policy, self.show_run, tabs, buttons, self.message])
        self.add_class("ternary-explorer")
        self._restore()
        self.controls[explorer.LENGTH].observe(self._stretch, "value")
        for control in (*self.controls.values(), self.gate, self.closed, self.policy, self.show_run):
            control.observe(self._redraw, "value")
        self.preset.observe(self._rebase, "value")
        self.save.on_click(self._write)
        self.reset.on_click(self._restore)

    def _sliders(self) -> tuple[dict[str, Any], dict[str, list[Any]]]:
        controls, groups = {}, {}
        for title, group in explorer.controls(self.base.schedules.model_dump()).items():
            groups[title] = []
            for control in group:
                look = _named(control.name) | {"layout": _wide(), "step": control.step, "min": control.low, "max": control.high}
                digits = ".2f" if control.step < 1 else ".0f"
                made = w.IntSlider(**look) if explorer.is_whole(control.key) else w.FloatSlider(readout_format=digits, **look)
                controls[control.key] = made
                groups[title].append(made)
        return controls, groups

    @property
    def config(self) -> Config:
        """The configuration that the controls spell; raises ConfigError, one line, where they make none."""
        name = self.name.value.strip()
        if not re.fullmatch(explorer.NAME, name):
            raise ConfigError(f"name {name!r}: use letters, digits, points, hyphens and underscores")
        return self._spell(name)

    def _spell(self, name: str) -> Config:
        data = self.base.model_dump(mode="json")
        values = {key: control.value for key, control in self.controls.items()}
        try:
            data |= {"name": name, "schedules": explorer.moved(data["schedules"], values, self.policy.value)}
        except ValueError as error:
            raise ConfigError(str(error)) from None
        return config_from_mapping(data, origin="not a schedule")

    def _redraw(self, _change: Any = None) -> None:
        try:
            now = self._spell(self.base.name).schedules
            gate = explorer.Gate(self.gate.value, self.closed.value).checked()
            drawn = explorer.panels(self.production, now, gate, self.run, self.show_run.value)
        except ValueError as error:
            self._say(str(error), wrong=True)
            return
        self.plot.value = "".join(drawn)
        self._say("")

    def _write(self, _button: Any = None) -> None:
        try:
            target, parameters = write_schedule(self.config, self.folder)
        except (ConfigError, OSError) as error:
            self._say(str(error), wrong=True)
            return
        name = self.config.name
        commands = (
            f"python -m ternary_lib train --config {_shown(target)} --run-dir runs/{name}",
            f"papermill notebooks/03_training.ipynb {name}.ipynb -f {_shown(parameters)}",
        )
        lines = "".join(f"<pre>{html.escape(line)}</pre>" for line in commands)
        self.message.value = (
            f'<div role="status">Written: <code>{html.escape(_shown(target))}</code>. Use it with{lines}</div>'
        )

    def _stretch(self, change: Any) -> None:
        """Let the phases and the gate reach the run's last epoch."""
        for k in range(3):
            boundary = self.controls[f"phases.{k}"]
            boundary.max = max(change["new"], boundary.value)
        self.closed.max = max(1, change["new"] - 1, self.closed.upper)

    def _rebase(self, _change: Any = None) -> None:
        """Start from another preset."""
        self.base = load_config(self.preset.value) if self.preset.value else self.first
        self.run = measured_columns(self.base, *self.runs)
        self.gate.options = explorer.gates(self.run)
        self._restore()

    def _restore(self, _button: Any = None) -> None:
        """Put every control where the preset has it, ranges first, and draw once."""
        schedules = self.base.schedules.model_dump()
        last = schedules["total_epochs"] - 1
        with contextlib.ExitStack() as quiet:
            for control in (*self.controls.values(), self.closed):
                quiet.enter_context(control.hold_trait_notifications())
            for group in explorer.controls(schedules).values():  # the run's length first: it moves other ranges
                for key, _, low, high, _ in sorted(group, key=lambda control: control.key != explorer.LENGTH):
                    value = explorer.value_at(schedules, key)
                    made = self.controls[key]
                    made.min, made.max, made.value = min(low, value), max(high, value), value
            self.closed.min, self.closed.max = 0, last
            self.closed.value = tuple(min(edge, last) for edge in (schedules["phases"][1], schedules["phases"][2]))
        self.policy.value, self.gate.index = schedules["rho"]["gate"], 0
        self.show_run.value, self.show_run.disabled = self.show_run.value and bool(self.run), not self.run
        self._redraw()

    def _say(self, words: str, wrong: bool = False) -> None:
        role = "alert" if wrong else "status"
        self.message.value = f'<div role="{role}">{"⚠ " if wrong and words else ""}{html.escape(words)}</div>'


def schedule_explorer(cfg: Config, record: Any = None, folder: Path | str | None = None) -> ScheduleExplorer:
    """Make the live explorer over the schedules of `cfg`; `record` (a run or its record) adds the gate as measured."""
    return ScheduleExplorer(cfg, record, folder)


def _shown(path: Path) -> str:
    path = path.resolve()
    return path.relative_to(PROJECT_ROOT).as_posix() if path.is_relative_to(PROJECT_ROOT) else str(path)


def _gates(measured: Sequence[float] | None) -> tuple[str, ...]:
    return (OPEN, CLOSED, AS_MEASURED) if measured is not None else (OPEN, CLOSED)


# ----------------------------------------------------------------------------------- the static form, for a page alone


def _grid(value: float) -> list[float]:
    """Eleven levels from 0 to 1, and `value` among them."""
    return sorted({round(k / 10, 1) for k in range(11)} | {value})


def _levels(name: str, values: Sequence[float], now: float) -> w.SelectionSlider:
    options = [(f"{value:g}", k) for k, value in enumerate(values)]
    return w.SelectionSlider(options=options, index=values.index(now), layout=_wide(), **_named(name))


def _varied(cfg: Config, section: str, field: str, value: float) -> Any:
    data = cfg.model_dump(mode="json")
    data["schedules"][section][field] = value
    return config_from_mapping(data).schedules


def _tau_frames(cfg: Config, boosts: Sequence[float]) -> list[str]:
    ratios = gate_ratios("always open", cfg.schedules)
    ghost = curves(cfg.schedules, ratios)
    varied = [_varied(cfg, "tau_a", "boost", boost) for boost in boosts]
    lines = [curves(schedules, ratios) for schedules in varied]
    top = round_up(max(max(*c["tau_a"], *c["tau_b"]) for c in lines))
    return [tau_panel(c, ghost, s, cfg.name, top) for s, c in zip(varied, lines, strict=True)]


def _rho_frames(cfg: Config, finals: Sequence[float], gate: str, measured: Sequence[float] | None) -> list[str]:
    ghost = curves(cfg.schedules, gate_ratios("always open", cfg.schedules))
    varied = [_varied(cfg, "rho", "final", final) for final in finals]
    ratios = gate_ratios(gate, cfg.schedules, measured)
    return [rho_panel(curves(schedules, ratios), ghost, schedules, cfg.name, gate) for schedules in varied]


def schedule_frames(cfg: Config, record: Any = None) -> w.VBox:
    """Make the explorer for a page without a kernel: three controls over drawings computed now.

    τ and ρ stand in separate panels, so their frames add instead of multiplying. The boost of τ_A picks a drawing of
    the temperatures; the final level of ρ and the gate pick one of the permeability. The gate as measured is offered
    where `record` (a run or its record) measured as many epochs as `cfg` has.
    """
    measured = measured_columns(cfg, record).get("grad_ratio")
    boosts, finals = _grid(cfg.schedules.tau_a.boost), _grid(cfg.schedules.rho.final)
    boost = _levels("τ_A boost in phase 4", boosts, cfg.schedules.tau_a.boost)
    final = _levels("ρ final level", finals, cfg.schedules.rho.final)
    gate = w.ToggleButtons(options=_gates(measured), **_named("Gate in phase 3"))
    wide = w.Layout(width="98%")
    shared = {"layout": wide, "style": HTMLStyle()}  # one model for all frames keeps the page small

    def stack(frames: Sequence[str], slider: w.SelectionSlider) -> w.Stack:
        made = w.Stack([w.HTML(frame, **shared) for frame in frames], selected_index=slider.index, layout=wide)
        w.jslink((slider, "index"), (made, "selected_index"))
        return made

    of_gate = [stack(_rho_frames(cfg, finals, name, measured), final) for name in _gates(measured)]
    gates = w.Stack(of_gate, selected_index=0, layout=wide)
    w.jslink((gate, "index"), (gates, "selected_index"))
    frames = w.VBox([boost, stack(_tau_frames(cfg, boosts), boost), final, gate, gates])
    return frames.add_class("ternary-explorer")
