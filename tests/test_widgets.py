"""The schedule explorer draws what the library computes, moves with its controls, and writes files that read back."""

import math
import re
import subprocess
import sys

import ipywidgets as w
import pytest
import yaml
from curves import close, permeability, plotted

from ternary_lib import explorer_svg as drawing
from ternary_lib import records, widgets
from ternary_lib.config import PROJECT_ROOT, Config, ConfigError, load_config
from ternary_lib.schedules import tau_a, tau_b

PRODUCTION = Config()
MEASURED = [1 + 0.3 * math.sin(t / 9) for t in range(400)]


def record_of(cfg, **history):
    return {"config": cfg.model_dump(mode="json"), "history": history}


RECORD = record_of(PRODUCTION, grad_ratio=MEASURED)


# ------------------------------------------------------------------------------------------------------- static form


@pytest.fixture(scope="module")
def frames():
    return widgets.schedule_frames(PRODUCTION, RECORD)


def test_every_temperature_frame_is_the_librarys_curve(frames):
    boost, stack, *_ = frames.children
    levels = [float(label) for label, _ in boost.options]
    assert levels == [k / 10 for k in range(11)] and len(stack.children) == len(levels)
    for level, frame in zip(levels, stack.children, strict=True):
        schedules = load_config("configs/ternary_v5_5.yaml", {"schedules.tau_a.boost": level}).schedules
        for key, function in (("tau_a", tau_a), ("tau_b", tau_b)):
            assert close(plotted(frame.value, key, 2.0), [function(t, schedules) for t in range(400)], 2.0), (
                level,
                key,
            )
        assert close(plotted(frame.value, "ghost_tau_a", 2.0), [tau_a(t, PRODUCTION.schedules) for t in range(400)], 2.0)


@pytest.mark.parametrize("gate", range(3))
def test_every_permeability_frame_is_the_librarys_curve(frames, gate):
    final, stack = frames.children[2], frames.children[4].children[gate]
    ratios = ([1.0] * 400, [1.2] * 400, MEASURED)[gate]
    for (label, _), frame in zip(final.options, stack.children, strict=True):
        schedules = load_config("configs/ternary_v5_5.yaml", {"schedules.rho.final": float(label)}).schedules
        assert close(plotted(frame.value, "rho", 1.0), permeability(schedules, ratios), 1.0), label
        assert close(plotted(frame.value, "ghost_rho", 1.0), permeability(PRODUCTION.schedules, [1.0] * 400), 1.0)


def test_closed_epochs_are_marked(frames):
    open_frame, closed_frame, measured_frame = (stack.children[0].value for stack in frames.children[4].children)
    assert "data-curve='closed'" not in open_frame
    assert closed_frame.split("data-curve='closed'")[1].split("/>")[0].count("M") == 130
    shut = sum(not 0.8 < MEASURED[t] < 1.2 for t in range(120, 250))
    assert 0 < shut < 130 and f"closed in {shut} epochs" in measured_frame


def test_every_frame_is_reached_by_a_link(frames):
    boost, tau, final, gate, rho = frames.children
    links = {
        (link.source[0].model_id, link.source[1], link.target[0].model_id, link.target[1])
        for link in w.widgets.widget._instances.values()  # the models that a saved page carries
        if isinstance(link, w.widgets.widget_link.Link)
    }
    wanted = [(boost, tau), (gate, rho), *((final, stack) for stack in rho.children)]
    for control, stack in wanted:
        assert (control.model_id, "index", stack.model_id, "selected_index") in links
        assert len(control.options) == len(stack.children) and stack.selected_index == control.index


def test_frames_start_at_the_configured_values(frames):
    assert frames.children[0].label == "0.5" and frames.children[2].label == "0.7" and frames.children[3].index == 0


def test_controls_are_labelled_and_drawings_described(frames):
    for control in (frames.children[0], frames.children[2], frames.children[3]):
        assert control.description and control.tooltip == control.description
    labels = [re.search(r"aria-label='([^']+)'", frame.value).group(1) for frame in frames.children[1].children]
    assert len(set(labels)) == len(labels)


def test_the_page_grows_by_less_than_400_kb(frames):
    from ipywidgets.embed import embed_snippet

    state = embed_snippet(views=[frames])
    assert len(state.encode()) < 400_000


def test_drawings_carry_no_black_and_no_ids(frames):
    text = frames.children[1].children[0].value
    assert "currentColor" in text and "#000" not in text and " id=" not in text and "<style" not in text


def test_without_a_measured_run_the_gate_has_two_positions():
    for record in (None, {}, record_of(PRODUCTION, grad_ratio=[1.0])):
        made = widgets.schedule_frames(PRODUCTION, record)
        assert [label for label in made.children[3].options] == ["always open", "always closed"]
        assert len(made.children[4].children) == 2


def test_a_configured_value_off_the_grid_has_its_own_frame():
    cfg = load_config("configs/ternary_v5_5.yaml", {"schedules.tau_a.boost": 0.33})
    made = widgets.schedule_frames(cfg)
    assert made.children[0].label == "0.33" and len(made.children[1].children) == 12


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"schedules.total_epochs": 1},
        {"schedules.total_epochs": 2},
        {"schedules.phases": [0, 0, 0]},
        {"schedules.phases": [3, 3, 900]},
    ],
)
def test_short_and_odd_runs_are_drawn(overrides):
    cfg = load_config("configs/smoke.yaml", overrides)
    made = widgets.schedule_frames(cfg, record_of(cfg, grad_ratio=[None] * cfg.schedules.total_epochs))
    for frame in (*made.children[1].children, *made.children[4].children[2].children):
        assert frame.value.startswith("<svg") and not re.search(r"\b(nan|inf)\b", frame.value)


# --------------------------------------------------------------------------------------------------------- live form


@pytest.fixture
def explorer(tmp_path):
    return widgets.schedule_explorer(PRODUCTION, RECORD, folder=tmp_path)


def test_it_starts_at_production(explorer):
    assert explorer.config.schedules == PRODUCTION.schedules
    assert close(plotted(explorer.plot.value, "tau_a", 1.5), [tau_a(t, PRODUCTION.schedules) for t in range(400)], 1.5)


MOVES = {
    "tau_a.start": 1.4, "tau_a.end": 0.5, "tau_a.amplitude": 0.3, "tau_a.boost": 0.2, "tau_a.period": 50.0,
    "tau_b.start": 1.2, "tau_b.end": 0.6, "tau_b.lag": 60.0, "tau_b.boost": 0.7,
    "rho.start": 0.2, "rho.consolidated": 0.4, "rho.final": 0.9, "rho.ramp_epochs": 60.0,
    "tau_a.offset": 0.5, "tau_a.floor": 0.3, "beta.start": 0.3, "beta.end": 1.5, "beta.lag": 1.5,
    "phases.0": 20, "phases.1": 90, "phases.2": 300,
    "rho.gate_low": 0.9, "rho.gate_high": 1.25, "learning_rate.factor": 2.0,
}  # fmt: skip


@pytest.mark.parametrize("key", MOVES)
def test_each_slider_redraws_the_librarys_curves(explorer, key):
    explorer.gate.value = "as measured"
    before = explorer.plot.value
    explorer.controls[key].value = MOVES[key]
    assert explorer.plot.value != before and explorer.message.value == '<div role="status"></div>'
    section, field = key.split(".")
    if section == "phases":
        phases = list(PRODUCTION.schedules.phases)
        phases[int(field)] = MOVES[key]
        overrides = {"schedules.phases": phases}
    elif key == "learning_rate.factor":
        overrides = {"schedules.learning_rate.values": [MOVES[key] * rate for rate in PRODUCTION.schedules.learning_rate.values]}
    else:
        overrides = {f"schedules.{key}": MOVES[key]}
    schedules = load_config("configs/ternary_v5_5.yaml", overrides).schedules
    assert explorer.config.schedules == schedules
    expected = {"tau_a": [tau_a(t, schedules) for t in range(400)], "tau_b": [tau_b(t, schedules) for t in range(400)]}
    top = drawing.round_up(max(max(max(v) for v in expected.values()), 1.06))
    for name, values in expected.items():
        assert close(plotted(explorer.plot.value, name, top), values, top)
    assert close(plotted(explorer.plot.value, "rho", 1.0), permeability(schedules, MEASURED), 1.0)
    ghost = [tau_a(t, PRODUCTION.schedules) for t in range(400)]
    assert close(plotted(explorer.plot.value, "ghost_tau_a", top), ghost, top)


def test_every_slider_is_tried_above(explorer):
    assert {*MOVES, "total_epochs"} == set(explorer.controls)


def test_the_length_of_the_run_moves_and_the_boundaries_follow(explorer):
    explorer.controls["total_epochs"].value = 600
    explorer.controls["phases.2"].value = 550
    schedules = load_config("configs/ternary_v5_5.yaml", {"schedules.total_epochs": 600, "schedules.phases": [40, 120, 550]}).schedules
    assert explorer.config.schedules == schedules
    assert close(plotted(explorer.plot.value, "tau_a", 1.5, 600), [tau_a(t, schedules) for t in range(600)], 1.5)
    explorer.controls["total_epochs"].value = 300
    assert explorer.config.schedules.phases == (40, 120, 550), "a shorter run leaves the boundaries where they are"
    explorer.reset.click()
    assert explorer.config.schedules == PRODUCTION.schedules


def test_the_gate_and_its_policy_redraw(explorer):
    explorer.closed.value = (130, 140)
    for_a_while = [1.2 if 130 <= t <= 140 else 1.0 for t in range(400)]
    for gate, ratios in zip(drawing.GATES, ([1.0] * 400, [1.2] * 400, for_a_while, MEASURED), strict=True):
        for policy in ("hold", "fall_back"):
            explorer.gate.value, explorer.policy.value = gate, policy
            schedules = load_config("configs/ternary_v5_5.yaml", {"schedules.rho.gate": policy}).schedules
            assert close(plotted(explorer.plot.value, "rho", 1.0), permeability(schedules, ratios), 1.0)


def test_an_impossible_schedule_gives_one_line_and_keeps_the_drawing(explorer):
    before = explorer.plot.value
    explorer.controls["phases.0"].value = 200  # after phase 3 starts
    assert 'role="alert"' in explorer.message.value and "phases must rise" in explorer.message.value
    assert "Traceback" not in explorer.message.value and "\n" not in explorer.message.value
    assert explorer.plot.value == before
    explorer.save.click()
    assert "phases must rise" in explorer.message.value and not list(explorer.folder.iterdir())
    explorer.controls["phases.0"].value = 40
    assert explorer.message.value == '<div role="status"></div>'


def test_reset_goes_back(explorer):
    for key, value in MOVES.items():
        explorer.controls[key].value = value
    explorer.gate.index, explorer.policy.value = 1, "fall_back"
    explorer.reset.click()
    assert explorer.config.schedules == PRODUCTION.schedules and explorer.gate.index == 0


def test_another_preset_brings_its_values_its_epochs_and_what_lies_behind(explorer):
    v5_0 = load_config("configs/ladder/v5_0.yaml")
    explorer.gate.value = "as measured"
    explorer.preset.value = "configs/ladder/v5_0.yaml"
    assert explorer.config.schedules == v5_0.schedules and explorer.gate.value == "always open"
    assert "as measured" not in explorer.gate.options, "a run of 400 epochs says nothing of one of 100"
    for key, schedules in (("tau_a", v5_0.schedules), ("ghost_tau_a", PRODUCTION.schedules)):
        assert close(plotted(explorer.plot.value, key, 1.5, 100), [tau_a(t, schedules) for t in range(100)], 1.5)
    explorer.controls["tau_a.start"].value = 1.4
    assert explorer.config.model_copy(update={"schedules": v5_0.schedules, "name": "v5_0"}) == v5_0
    explorer.reset.click()
    assert explorer.config.schedules == v5_0.schedules
    explorer.preset.value = ""
    assert explorer.config.schedules == PRODUCTION.schedules and "as measured" in explorer.gate.options


@pytest.mark.parametrize("path", widgets.PRESETS)
def test_every_preset_can_be_started_from(explorer, path):
    explorer.preset.value = "" if path == "configs/ternary_v5_5.yaml" else path
    assert explorer.config.schedules == load_config(path).schedules
    assert explorer.message.value == '<div role="status"></div>'


def test_what_the_run_did_lies_over_the_curves(tmp_path):
    did = [0.1 + t / 1000 for t in range(400)]
    explorer = widgets.schedule_explorer(PRODUCTION, record_of(PRODUCTION, rho=did, grad_ratio=MEASURED, tau_a=did[:3]), folder=tmp_path)
    assert "run_" not in explorer.plot.value
    explorer.show_run.value = True
    assert close(plotted(explorer.plot.value, "run_rho", 1.0), did, 1.0)
    assert "run_tau_a" not in explorer.plot.value, "a column of other epochs is no column of this run"


def test_a_run_lies_over_its_own_schedules_alone(explorer):
    explorer.show_run.value = True
    explorer.preset.value = "configs/ternary_v5_5_published.yaml"  # as many epochs as production, another record
    did = records.load_record("ternary_v5_5_published_seed42")["history"]
    for key in ("tau_a", "rho"):
        top = 1.5 if key == "tau_a" else 1.0
        assert close(plotted(explorer.plot.value, f"run_{key}", top), did[key], top)
    explorer.gate.value = "as measured"
    assert close(plotted(explorer.plot.value, "rho", 1.0), did["rho"], 1.0), "the gate as measured gives the run's permeability"
    explorer.preset.value = "configs/ladder/v5_4.yaml"  # production's schedules, other losses: no run of it is recorded
    assert explorer.show_run.disabled and not explorer.show_run.value and "run_" not in explorer.plot.value
    assert "as measured" not in explorer.gate.options
    explorer.preset.value = ""
    assert not explorer.show_run.disabled and "as measured" in explorer.gate.options


def test_whatever_its_seed_a_run_is_of_its_configuration():
    seven = PRODUCTION.model_copy(update={"seed": 7, "name": "mine"})
    assert widgets.measured_columns(PRODUCTION, record_of(seven, grad_ratio=MEASURED)) == {"grad_ratio": MEASURED}
    other = load_config("configs/ternary_v5_5.yaml", {"loss.free_bits": 0.1})
    assert widgets.measured_columns(PRODUCTION, record_of(other, grad_ratio=MEASURED)) == {}


def test_the_written_file_reads_back_to_the_drawn_curve(explorer):
    for key, value in MOVES.items():
        explorer.controls[key].value = value
    explorer.policy.value = "fall_back"
    explorer.save.click()
    written = load_config(explorer.folder / "my_schedule.yaml")
    assert written == explorer.config and written.schedules.tau_a.boost == 0.2 and written.name == "my_schedule"
    curve = [tau_a(t, written.schedules) for t in range(400)]
    assert close(plotted(explorer.plot.value, "tau_a", 2.0), curve, 2.0)
    assert (
        "train --config" in explorer.message.value and "papermill notebooks/03_training.ipynb" in explorer.message.value
    )


def test_papermills_file_names_the_configuration(explorer):
    explorer.controls["tau_a.boost"].value = 0.25
    explorer.save.click()
    parameters = yaml.safe_load((explorer.folder / "papermill" / "my_schedule.yaml").read_text())
    assert set(parameters) == {"config", "seed"}
    assert load_config(parameters["config"]).schedules.tau_a.boost == 0.25


def test_files_in_the_project_are_named_relative_to_it():
    name = "explorer_test_schedule"
    made = [PROJECT_ROOT / "configs" / f"{name}.yaml", PROJECT_ROOT / "configs" / "papermill" / f"{name}.yaml"]
    try:
        widgets.write_schedule(load_config("configs/smoke.yaml", {"name": name}))
        assert yaml.safe_load(made[1].read_text())["config"] == f"configs/{name}.yaml"
        assert load_config(f"configs/{name}.yaml").schedules == load_config("configs/smoke.yaml").schedules
    finally:
        for path in made:
            path.unlink(missing_ok=True)


def test_only_its_own_files_are_overwritten(explorer):
    explorer.save.click()
    explorer.controls["tau_a.boost"].value = 0.9
    explorer.save.click()
    assert load_config(explorer.folder / "my_schedule.yaml").schedules.tau_a.boost == 0.9
    (explorer.folder / "mine.yaml").write_text("name: mine\n")
    explorer.name.value = "mine"
    explorer.save.click()
    assert 'role="alert"' in explorer.message.value and (explorer.folder / "mine.yaml").read_text() == "name: mine\n"


@pytest.mark.parametrize("name", ["../escape", "", "a/b", "<b>", "x" * 80])
def test_a_bad_name_is_refused(explorer, name):
    explorer.name.value = name
    explorer.save.click()
    assert 'role="alert"' in explorer.message.value and "<b>" not in explorer.message.value
    assert not list(explorer.folder.iterdir())


def test_a_folder_that_cannot_be_written_gives_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    made = widgets.schedule_explorer(PRODUCTION, folder=tmp_path / "file")
    made.save.click()
    assert 'role="alert"' in made.message.value and "\n" not in made.message.value


def test_an_unusual_configuration_keeps_its_last_bits():
    cfg = load_config(
        "configs/ternary_v5_5_published.yaml", {"schedules.tau_a.start": 1 / 3, "schedules.tau_b.lag": 7.5}
    )
    assert widgets.schedule_explorer(cfg)._spell(cfg.name) == cfg


def test_gate_as_measured_needs_a_ratio_for_each_epoch():
    with pytest.raises(ValueError, match="no measured ratio"):
        drawing.gate_ratios("as measured", PRODUCTION.schedules, [1.0])
    with pytest.raises(ConfigError):
        load_config("configs/smoke.yaml", {"schedules.phases": [3, 2, 1]})


def test_schedules_and_config_need_no_widgets():
    code = "import sys, ternary_lib.schedules, ternary_lib.config; sys.exit('ipywidgets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT).returncode == 0
