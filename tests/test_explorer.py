"""The explorer's core, which also runs in a reader's browser: standard library alone, the library's curves, files that read back."""

import json
import math
import re
import subprocess
import sys

import pytest
from curves import close, permeability, plotted
from test_widgets import MEASURED, MOVES

from ternary_lib import explorer, records
from ternary_lib.config import PROJECT_ROOT, load_config
from ternary_lib.explorer_page import explorer_html
from ternary_lib.explorer_svg import round_up
from ternary_lib.schedules import beta_a, beta_b, learning_rate, tau_a, tau_b
from ternary_lib.widgets import PRESETS

PRODUCTION = "configs/ternary_v5_5.yaml"
SCHEDULES = load_config(PRODUCTION).schedules.model_dump(mode="json")


def ask(**more):
    """What the page would get, from the production preset."""
    asked = {
        "path": PRODUCTION, "schedules": SCHEDULES, "ghost": SCHEDULES, "values": {}, "policy": "hold", "gate": "always open",
        "closed": [0, 0], "run": {"grad_ratio": MEASURED}, "show_run": False, "own_name": "mine",
    }  # fmt: skip
    return json.loads(explorer.view(json.dumps(asked | more)))


def test_it_needs_the_standard_library_alone():
    code = "import sys; sys.path.insert(0, '.'); import ternary_lib.explorer"  # -S: no installed package is found
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_number_of_the_four_schedules_can_be_moved():
    movable = {control.key for group in explorer.controls(SCHEDULES).values() for control in group}
    numbers = {f"{s}.{k}" for s in ("tau_a", "tau_b", "beta", "rho") for k, v in SCHEDULES[s].items() if isinstance(v, float | int)}
    assert numbers <= movable
    assert movable - numbers == {"phases.0", "phases.1", "phases.2", "total_epochs", "learning_rate.factor"}


@pytest.mark.parametrize("gate", ["always open", "always closed", "closed for a while", "as measured"])
def test_the_drawings_are_the_librarys_curves(gate):
    shown = ask(values=MOVES, gate=gate, closed=[95, 120], policy="fall_back")
    phases = {k: v for k, v in MOVES.items() if k.startswith("phases.")}
    overrides = {f"schedules.{k}": v for k, v in MOVES.items() if k not in phases and k != "learning_rate.factor"}
    overrides["schedules.learning_rate.values"] = [MOVES["learning_rate.factor"] * rate for rate in SCHEDULES["learning_rate"]["values"]]
    s = load_config(PRODUCTION, overrides | {"schedules.phases": list(phases.values()), "schedules.rho.gate": "fall_back"}).schedules
    ratios = {
        "always open": [1.0] * 400, "always closed": [9.0] * 400, "as measured": MEASURED,
        "closed for a while": [9.0 if 95 <= t <= 120 else 1.0 for t in range(400)],
    }[gate]  # fmt: skip
    tau, rho, beta, rate = shown["panels"]
    for panel, functions in ((tau, {"tau_a": tau_a, "tau_b": tau_b}), (beta, {"beta_a": beta_a, "beta_b": beta_b})):
        values = {name: [function(t, s) for t in range(400)] for name, function in functions.items()}
        ghosts = [function(t, load_config(PRODUCTION).schedules) for function in functions.values() for t in range(400)]
        top = round_up(max(*ghosts, *(v for part in values.values() for v in part)))
        for name, expected in values.items():
            assert close(plotted(panel, name, top), expected, top)
    assert close(plotted(rho, "rho", 1.0), permeability(s, ratios), 1.0)
    powers = [math.log10(learning_rate(t, s)) for t in range(400)]  # from 0.00001 to 0.002: drawn from 10⁻⁶ to 10⁻²
    assert close(plotted(rate, "learning_rate", 4), [power + 6 for power in powers], 4)


def test_bounds_of_the_gate_decide_what_a_measured_ratio_opens():
    ticks = {}
    for high in (1.1, 1.25, 1.5):
        rho = ask(values={"rho.gate_high": high}, gate="as measured")["panels"][1]
        ticks[high] = rho.split("data-curve='closed' d='")[1].split("'")[0].count("M")
        assert ticks[high] == sum(not 0.8 < MEASURED[t] < high for t in range(120, 250))
    assert len(set(ticks.values())) == 3


@pytest.mark.parametrize("epochs", [1, 100, 300, 600])
def test_a_longer_or_shorter_run_is_drawn_to_its_end_and_production_to_its_own(epochs):
    tau = ask(values={"total_epochs": epochs})["panels"][0]
    s = load_config(PRODUCTION, {"schedules.total_epochs": epochs}).schedules
    base = load_config(PRODUCTION).schedules
    if epochs > 1:
        expected = [tau_a(t, s) for t in range(epochs)]
        top = round_up(max(*expected, *(tau_a(t, base) for t in range(min(epochs, 400)))))
        assert close(plotted(tau, "tau_a", top, epochs), expected, top)
        behind = min(epochs, 400)
        assert close(plotted(tau, "ghost_tau_a", top, behind, total=epochs), [tau_a(t, base) for t in range(behind)], top)
    assert ">production<" in tau


@pytest.mark.parametrize("path", PRESETS)
def test_production_lies_behind_every_preset(path):
    s = load_config(path).schedules
    epochs = s.total_epochs
    tau = ask(path=path, schedules=s.model_dump(mode="json"), run={})["panels"][0]
    behind = [tau_a(t, load_config(PRODUCTION).schedules) for t in range(epochs)]
    top = round_up(max(*behind, *(f(t, s) for f in (tau_a, tau_b) for t in range(epochs))))
    assert close(plotted(tau, "ghost_tau_a", top, epochs), behind, top)


@pytest.mark.parametrize("path", PRESETS)
def test_the_file_it_writes_is_the_configuration_it_draws(path, tmp_path):
    base = load_config(path)
    schedules = base.schedules.model_dump(mode="json")
    values = {key: value for key, value in MOVES.items() if not key.startswith("phases.")} | {"phases.0": 1}
    text = ask(path=path, schedules=schedules, values=values, policy="fall_back", run={})["yaml"]
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    made = explorer.moved(schedules, values, "fall_back")
    assert load_config(file).model_dump(mode="json") == base.model_dump(mode="json") | {"name": "mine", "schedules": made}


def test_a_file_of_nothing_moved_is_its_preset_by_another_name(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(ask()["yaml"], encoding="utf-8")
    assert load_config(file) == load_config(PRODUCTION, {"name": "mine"})


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"values": {"phases.0": 300}}, "phases must rise"),
        ({"own_name": "../mine"}, "use letters"),
        ({"own_name": ""}, "use letters"),
        ({"gate": "closed for a while", "closed": [5.5, 9]}, "closed from epoch 5.5 to epoch 9: expected"),
        ({"gate": "closed for a while", "closed": [5, 2]}, "closed from epoch 5 to epoch 2: expected"),
        ({"gate": "closed for a while", "closed": [-1, 2]}, "closed from epoch -1"),
        ({"gate": "closed for a while", "closed": [None, 2]}, "closed from no number to"),
        ({"values": {"rho.gate_low": 1.0, "rho.gate_high": 1.0}}, "gate_low must be below gate_high"),
        ({"gate": "as measured", "values": {"total_epochs": 300}}, "no measured ratio for each of 300 epochs"),
        ({"gate": "as measured", "run": {}}, "no measured ratio"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(asked, words):
    answer = ask(**asked)
    assert list(answer) == ["fault"] and words in answer["fault"] and "\n" not in answer["fault"]


def test_every_control_at_either_end_gives_a_file_that_reads_back_or_a_line(tmp_path):
    file, faults = tmp_path / "mine.yaml", 0
    for control in (control for group in explorer.controls(SCHEDULES).values() for control in group):
        for value in (control.low, control.high):
            answer = ask(values={control.key: value}, run={})
            faults += "fault" in answer
            if "yaml" in answer:
                file.write_text(answer["yaml"], encoding="utf-8")
                made = explorer.moved(SCHEDULES, {control.key: value}, "hold")
                assert load_config(file).schedules.model_dump(mode="json") == made, control
    assert faults == 4, "a boundary of the phases beyond the next one, four times"


# --- the page of the built book ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page():
    return explorer_html(records.load_record("ternary_v5_5_seed42"))


def test_the_page_carries_the_modules_that_the_library_runs(page):
    data = json.loads(re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL).group(1))
    for name in ("schedules", "explorer"):
        assert data["sources"][f"ternary_lib/{name}.py"] == (PROJECT_ROOT / "ternary_lib" / f"{name}.py").read_text(encoding="utf-8")
    first = data["presets"][0]
    assert first["name"] == "ternary_v5_5" and first["schedules"] == SCHEDULES, "the book's own configuration comes first"
    assert data["production"] == SCHEDULES
    assert {p["path"] for p in data["presets"]} == set(PRESETS)


def test_a_run_lies_over_the_preset_that_it_is_of_and_over_no_other(page):
    data = json.loads(re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL).group(1))
    runs = {preset["name"]: preset["run"] for preset in data["presets"]}
    assert {name for name, run in runs.items() if run} == {"ternary_v5_5", "ternary_v5_5_published"}
    for name in ("ternary_v5_5", "ternary_v5_5_published"):
        history = records.load_record(f"{name}_seed42")["history"]
        for key, column in (("tau_a", "tau_a"), ("grad_ratio", "grad_ratio"), ("learning_rate", "learning_rate_applied")):
            assert runs[name][key] == [pytest.approx(value, rel=1e-4) for value in history[column]]
    assert runs["ternary_v5_5"]["tau_a"][260] != pytest.approx(runs["ternary_v5_5_published"]["tau_a"][260], rel=0.1)


def test_every_control_of_the_page_has_a_name_its_value_and_its_twin(page):
    keys = re.findall(r'<input type="range" [^>]*data-key="([^"]+)" value="([^"]+)"[^>]*aria-label="([^"]+)"', page)
    twins = re.findall(r'<input type="number" [^>]*data-key="([^"]+)" value="([^"]+)"', page)
    assert [(key, value) for key, value, _ in keys] == twins and len({name for *_, name in keys}) == len(keys) == 25
    for key, value, _ in keys:
        assert float(value) == pytest.approx(explorer.value_at(SCHEDULES, key), rel=1e-5)


def test_without_scripts_the_page_shows_the_production_schedules(page):
    before = page[: page.index("<script")]
    assert before.count("<svg") == 4 and "<fieldset disabled>" in before
    assert close(plotted(before, "tau_a", 1.5), [tau_a(t, load_config(PRODUCTION).schedules) for t in range(400)], 1.5)


def test_the_page_is_small_beside_the_scripts_it_starts(page):
    assert len(page.encode()) < 200_000
