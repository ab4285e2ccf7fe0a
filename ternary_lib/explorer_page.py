"""The schedule explorer as a page of the built book: its controls, its first drawing, and what the browser needs to redraw it.

The page holds the sources of the explorer's core and of the schedules; `book/_static/explorer.js` gives them to Pyodide, a Python in
the page. Without scripts the first drawing stays.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ternary_lib import explorer
from ternary_lib.config import config_from_mapping, load_config
from ternary_lib.widgets import PRESETS, committed_records, measured_columns

MODULES = ("colours", "schedules", "explorer_svg", "explorer")  # what Pyodide runs, besides the standard library
DIGITS = 5  # significant digits of a run's columns


def explorer_html(record: Mapping[str, Any]) -> str:
    """The page's HTML; a preset that ``record``, of the run that the book is about, or a committed record is of can be laid over it."""
    first = config_from_mapping(record["config"])
    runs = [record, *committed_records()]
    presets = [_preset(path, runs) for path in _ordered(first.name)]
    package = Path(__file__).parent
    sources = {f"ternary_lib/{name}.py": (package / f"{name}.py").read_text(encoding="utf-8") for name in MODULES}
    production = load_config(PRESETS[0]).schedules.model_dump(mode="json")
    data = {"presets": presets, "production": production, "sources": sources | {"ternary_lib/__init__.py": ""}}
    start = presets[0]["schedules"]
    drawn = explorer.panels(explorer.attributes(production), explorer.attributes(start), explorer.Gate(), presets[0]["run"])
    options = "".join(f'<option value="{i}">{html.escape(p["name"])}</option>' for i, p in enumerate(presets))
    groups = {title: _group(title, group, start) for title, group in explorer.controls(start).items()}
    tau, rho, beta, rate = (f'<div class="panel">{panel}</div>' for panel in drawn)
    gates = "".join(f'<option value="{name}">{name}</option>' for name in explorer.GATES)
    policies = "".join(f'<option value="{policy}">{words}</option>' for policy, words in explorer.POLICIES.items())
    gate = GATE.format(gates=gates, policies=policies)
    sections = [
        tau + groups["Temperature of pathway A"] + groups["Temperature of pathway B"] + groups["Epochs and phases"],
        rho + gate + groups["Permeability"],
        beta + groups["KL weights"],
        rate + groups["Learning rate"],
    ]
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    return PAGE.format(options=options, sections="".join(f"<section>{part}</section>" for part in sections), data=text)


def _ordered(name: str) -> list[str]:
    """The presets' files, the book's own configuration first."""
    return sorted(PRESETS, key=lambda path: Path(path).stem != name)


def _preset(path: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    config = load_config(path)
    run = {key: [_short(v) for v in values] for key, values in measured_columns(config, *runs).items()}
    schedules = config.schedules.model_dump(mode="json")
    keys = [control.key for group in explorer.controls(schedules).values() for control in group]
    values = {key: explorer.value_at(schedules, key) for key in keys}
    return {"path": path, "name": config.name, "schedules": schedules, "values": values, "run": run}


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")


def _group(title: str, group: tuple[explorer.Control, ...], schedules: Mapping[str, Any]) -> str:
    rows = "".join(_row(control, explorer.value_at(schedules, control.key)) for control in group)
    return f"<details open><summary>{html.escape(title)}</summary>{rows}</details>"


def _row(control: explorer.Control, value: float) -> str:
    limits = f'min="{min(control.low, value):g}" max="{max(control.high, value):g}" data-key="{control.key}" value="{value:.6g}"'
    limits += " data-whole" if explorer.is_whole(control.key) else ""
    return (
        f'<div class="setting"><span>{control.name}</span>'
        f'<input type="range" {limits} step="{control.step:g}" aria-label="{control.name}">'
        f'<input type="number" {limits} step="any" aria-label="{control.name}, as a number"></div>'
    )


GATE = """\
<div class="setting"><label for="explorer-gate">Gate in phase 3</label><select id="explorer-gate">{gates}</select></div>
<div class="setting" id="explorer-closed" hidden><span>Closed in epochs</span>
<input type="number" id="explorer-from" aria-label="Closed from epoch" min="0" value="0"> to
<input type="number" id="explorer-to" aria-label="Closed to epoch" min="0" value="0"></div>
<div class="setting"><label for="explorer-policy">While it is closed</label><select id="explorer-policy">{policies}</select></div>
"""
PAGE = """\
<div id="schedule-explorer" data-state="static">
<p class="status" role="status">This is the first drawing. Moving it needs scripts, which this browser does not run.</p>
<fieldset disabled>
<div class="setting"><label for="explorer-preset">Start from</label><select id="explorer-preset">{options}</select>
<button type="button" id="explorer-reset">Reset</button></div>
<div class="setting"><label for="explorer-run">Show what the run did</label><input type="checkbox" id="explorer-run">
<span id="explorer-run-words"></span></div>
{sections}
<h2 id="the-file">The file</h2>
<div class="setting"><label for="explorer-name">Name</label>
<input type="text" id="explorer-name" value="my_schedule" spellcheck="false"></div>
<pre id="explorer-yaml" tabindex="0" role="region" aria-label="The configuration file"></pre>
<div class="setting"><button type="button" id="explorer-download">Download</button>
<button type="button" id="explorer-copy">Copy</button> <span id="explorer-copied" role="status"></span></div>
<pre id="explorer-commands" tabindex="0" role="region" aria-label="Commands that use the file"></pre>
</fieldset>
<p id="explorer-fault" role="alert"></p>
</div>
<script type="application/json" id="schedule-explorer-data">{data}</script>
<script src="../_static/explorer.js"></script>
"""
