"""The schedule explorer in a real Chromium, in the chapter and on its page."""

from __future__ import annotations

import pytest
from built import DESKTOP, PHONE, SITE
from curves import close, plotted

from ternary_lib import records
from ternary_lib.config import load_config
from ternary_lib.explorer_svg import round_up
from ternary_lib.schedules import tau_a, tau_b
from ternary_lib.widgets import PRESETS


def test_explorer_moves(visit):
    one = visit()
    page = one.open("book/notebooks/04_phase_dynamics.html")
    page.wait_for_selector(".widget-slider, .jupyter-widgets [role=slider]")
    assert _moves(page), "moving the explorer's first slider changes nothing"
    assert one.outside == []


def _moves(page) -> bool:
    widgets = "[...document.querySelectorAll('.jupyter-widgets')].map(e => e.innerHTML).join('')"
    picture = f"() => {widgets}.replace(/(left|style|aria-value\\w+)=\"[^\"]*\"/g, '')"
    page.wait_for_timeout(500)
    before = page.evaluate(picture)
    slider = page.query_selector(".jupyter-widgets .noUi-handle")
    slider.focus()
    for key in ("ArrowRight", "ArrowLeft", "ArrowLeft"):  # whichever way there is room
        slider.press(key)
        page.wait_for_timeout(300)
        if page.evaluate(picture) != before:
            return True
    return False


READY = "#schedule-explorer[data-state=ready]"
PRODUCTION = "configs/ternary_v5_5.yaml"


def _explorer(visit, viewport=DESKTOP):
    one = visit(viewport)
    page = one.open("book/explorer.html")
    page.wait_for_selector(READY)
    return one, page


def _number(key: str) -> str:
    return f"input[type=number][data-key='{key}']"


def test_page_explorer_draws_the_librarys_curves_and_writes_a_file_that_trains_on_them(visit, tmp_path):
    one, page = _explorer(visit)
    base = load_config(page.evaluate("JSON.parse(document.getElementById('schedule-explorer-data').textContent).presets[0].path"))
    moved = {"tau_a.boost": 0.25, "tau_a.period": 5.5, "rho.final": 0.95, "rho.gate_low": 0.7, "learning_rate.factor": 0.5}
    for key, value in moved.items():
        page.fill(_number(key), str(value))
    page.fill(_number("total_epochs"), str(base.schedules.total_epochs + 3))
    page.fill("#explorer-name", "turned")
    page.wait_for_function("document.getElementById('explorer-yaml').textContent.includes('0.95')")
    with page.expect_download() as arriving:
        page.click("#explorer-download")
    arriving.value.save_as(tmp_path / arriving.value.suggested_filename)
    made = load_config(tmp_path / "turned.yaml").schedules
    assert (made.tau_a.boost, made.tau_a.period, made.rho.final, made.tau_b) == (0.25, 5.5, 0.95, base.schedules.tau_b)
    assert (made.rho.gate_low, made.total_epochs) == (0.7, base.schedules.total_epochs + 3)
    assert made.learning_rate.values == tuple(rate / 2 for rate in base.schedules.learning_rate.values)
    epochs, svg = made.total_epochs, page.inner_html(".panel")
    expected = {function.__name__: [function(t, made) for t in range(epochs)] for function in (tau_a, tau_b)}
    behind = load_config(PRODUCTION).schedules
    production = {f.__name__: [f(t, behind) for t in range(min(epochs, behind.total_epochs))] for f in (tau_a, tau_b)}
    top = round_up(max(value for drawn in (expected, production) for values in drawn.values() for value in values))
    for name, values in expected.items():
        assert close(plotted(svg.replace('"', "'"), name, top, epochs), values, top), name
        ghost = production[name]
        assert close(plotted(svg.replace('"', "'"), f"ghost_{name}", top, len(ghost), total=epochs), ghost, top), name
    page.click("#explorer-reset")
    page.wait_for_function("!document.getElementById('explorer-yaml').textContent.includes('schedules:')")
    assert one.outside == one.errors == []


def test_page_explorer_says_beside_the_slider_what_cannot_be_and_gives_no_file_of_it(visit):
    one, page = _explorer(visit, PHONE)
    before = page.inner_html(".panel")
    page.focus("input[type=range][data-key='phases.0']")
    page.keyboard.press("End")
    page.wait_for_selector("#schedule-explorer[data-state=fault]")
    box = page.locator("#explorer-fault").bounding_box()
    assert "phases must rise" in page.inner_text("#explorer-fault")
    assert box["y"] >= 0 and box["y"] + box["height"] <= PHONE["height"], "it is in sight"
    assert page.inner_html(".panel") == before
    page.click("#explorer-reset")
    page.wait_for_selector(READY)
    assert not page.is_visible("#explorer-fault")
    page.fill("#explorer-name", "../x")
    page.wait_for_selector("#schedule-explorer[data-state=fault]")
    assert page.is_disabled("#explorer-download") and page.is_disabled("#explorer-copy")
    assert page.inner_text("#explorer-yaml") == page.inner_text("#explorer-commands") == ""
    page.fill("#explorer-name", "x")
    page.wait_for_selector(READY)
    assert page.is_enabled("#explorer-download") and "name: x\n" in page.inner_text("#explorer-yaml")
    page.select_option("#explorer-gate", "closed for a while")
    page.fill("#explorer-from", "5.5")
    page.fill("#explorer-to", "2")
    page.wait_for_selector("#schedule-explorer[data-state=fault]")
    assert "closed from epoch 5.5 to epoch 2" in page.inner_text("#explorer-fault")
    assert one.errors == []


def test_page_explorer_corrects_a_number_out_of_range_and_says_so(visit):
    _, page = _explorer(visit)
    page.fill(_number("tau_a.start"), "50")
    page.wait_for_function("document.getElementById('explorer-yaml').textContent.includes('start: 2.0')")
    assert page.inner_text("#schedule-explorer .status") == "τ_A start goes from 0.1 to 2: 2 is used, not 50."
    page.keyboard.press("Tab")
    assert page.input_value(_number("tau_a.start")) == "2"
    page.fill(_number("tau_a.start"), "")
    page.keyboard.press("Tab")
    assert page.input_value(_number("tau_a.start")) == "2", "an empty field shows again what is used"


def test_page_explorer_copies_the_file_with_and_without_a_clipboard(visit):
    one, page = _explorer(visit)
    one.context.grant_permissions(["clipboard-read", "clipboard-write"])
    text = page.inner_text("#explorer-yaml")
    page.click("#explorer-copy")
    page.wait_for_function("document.getElementById('explorer-copied').textContent === 'Copied.'")
    assert page.evaluate("navigator.clipboard.readText()") == text
    two = visit()
    two.page.add_init_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")  # as over http from another host
    page = two.open("book/explorer.html")
    page.wait_for_selector(READY)
    page.click("#explorer-copy")
    page.wait_for_function("/Copied|Ctrl/.test(document.getElementById('explorer-copied').textContent)")
    assert page.evaluate("getSelection().toString()").strip() == text.strip()
    assert one.errors == two.errors == []


def test_page_explorer_lays_a_run_over_its_own_preset_alone(visit):
    _, page = _explorer(visit)
    names = page.eval_on_selector_all("#explorer-preset option", "options => options.map(option => option.textContent)")
    for name in ("ternary_v5_5", "ternary_v5_5_published"):
        page.select_option("#explorer-preset", label=name)
        page.check("#explorer-run")
        page.wait_for_selector(".panel [data-curve=run_tau_a]", state="attached")
        history = records.load_record(f"{name}_seed42")["history"]
        svg = page.inner_html(".panel").replace('"', "'")
        assert close(plotted(svg, "run_tau_a", 1.5), history["tau_a"], 1.5), name
    page.select_option("#explorer-preset", label="v5_4")
    page.wait_for_function("!document.querySelector('.panel [data-curve=run_tau_a]')")
    assert page.is_disabled("#explorer-run") and "No run of this preset" in page.inner_text("#explorer-run-words")
    assert len(names) == len(set(names)) == len(PRESETS)


@pytest.mark.parametrize("name", ["pyodide.asm.wasm", "pyodide.asm.js", "python_stdlib.zip", "pyodide-lock.json", "pyodide.js"])
def test_page_explorer_says_so_when_python_cannot_be_fetched(visit, name):
    one = visit()
    raised = []
    one.page.on("pageerror", lambda error: raised.append(error))
    one.page.route(f"**/{name}", lambda route: route.abort())
    page = one.open("book/explorer.html")
    page.wait_for_selector("#schedule-explorer[data-state=static]")
    assert "this is the first" in page.inner_text("#schedule-explorer .status")
    assert page.locator("#schedule-explorer svg").count() == 4 and raised == []


def test_page_explorer_says_so_when_python_never_comes(visit):
    one = visit()
    one.page.route("**/pyodide.asm.wasm", lambda route: None)
    one.page.clock.install()
    page = one.open("book/explorer.html")
    page.wait_for_selector("#schedule-explorer[data-state=starting]")
    page.clock.fast_forward(61_000)
    page.wait_for_selector("#schedule-explorer[data-state=static]")
    assert "not started within 60 seconds" in page.inner_text("#schedule-explorer .status")


def test_page_explorer_moves_by_keyboard(visit):
    _, page = _explorer(visit, PHONE)
    before = page.inner_html(".panel")
    page.focus("input[type=range][data-key='tau_a.boost']")
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("before => document.querySelector('.panel').innerHTML !== before", arg=before)
    moved = float(page.input_value("input[type=number][data-key='tau_a.boost']"))
    assert f"tau_a: {{boost: {moved}}}" in page.inner_text("#explorer-yaml"), "the file holds the one number that the key moved"


def test_page_explorer_opened_as_a_file_draws_the_librarys_curves_too(visit, tmp_path):
    one = visit()
    one.address = SITE.as_uri()
    page = one.open("book/explorer.html")
    page.wait_for_selector(READY)
    page.select_option("#explorer-preset", label="ternary_v5_5")
    page.fill(_number("tau_a.amplitude"), "0.4")
    page.fill(_number("tau_a.period"), "17")
    page.wait_for_function("document.getElementById('explorer-yaml').textContent.includes('period: 17')")
    (tmp_path / "mine.yaml").write_text(page.inner_text("#explorer-yaml"), encoding="utf-8")
    made = load_config(tmp_path / "mine.yaml").schedules
    assert (made.tau_a.amplitude, made.tau_a.period) == (0.4, 17)
    expected = [tau_a(t, made) for t in range(400)]
    top = round_up(max(expected))
    assert close(plotted(page.inner_html(".panel").replace('"', "'"), "tau_a", top), expected, top)
    assert one.outside == one.errors == []
