"""The trained network in a page, with no kernel: a truth table to click, a walk between two tables, coverage as it grows.

`show` displays it in a notebook, `live_html` gives the page of the built book; both hold the weights and `live.js`, which computes
the network in the reader's browser. What is known of a table (its properties, its name) is computed here, by `operations`.
"""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from typing import Any

import torch

from ternary_lib import operations
from ternary_lib.colours import COLOURS
from ternary_lib.model import TernaryVAE
from ternary_lib.operations import NAMED, NUM_OPERATIONS, all_operations
from ternary_lib.report import display_html

PROPERTIES = {
    "commutative": operations.is_commutative,
    "associative": operations.is_associative,
    "idempotent": operations.is_idempotent,
    "with an identity": operations.has_identity,
    "a Latin square": operations.is_latin_square,
    "conservative": operations.is_conservative,
}
FILES = ("live.css", "live.js")
START, TARGET = "kleene_min", "kleene_max"
SIGNS = ("−1", "0", "+1")


def show(model: TernaryVAE) -> None:
    """Display the viewer, the walk and the coverage of ``model`` in a notebook."""
    display_html(live_html(model), "Truth tables, walks and coverage: an interactive view, for readers that show HTML")


def live_html(model: TernaryVAE) -> str:
    """The HTML of the three tools, weights included (float32, about 0.9 MB for the default widths)."""
    named = [{"index": one.index, "name": _words(one.name), "description": one.description} for one in NAMED.values()]
    data = {**_packed(model), "properties": _base64(property_bits().numpy().tobytes()), "property_names": list(PROPERTIES),
            "named": named, "start": NAMED[START].index, "target": NAMED[TARGET].index}  # fmt: skip
    options = '<option value="">choose …</option>' + "".join(
        f'<option value="{one["index"]}">{html.escape(one["name"])}</option>' for one in sorted(named, key=lambda one: one["name"])
    )
    style, script = ((Path(__file__).parent / name).read_text(encoding="utf-8") for name in FILES)
    colours = ";".join(f"--{name}:{COLOURS[key]}" for name, key in {"a": "a", "b": "b", "die": "uniform"}.items())
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    page = PAGE.format(
        colours=colours, options=options, cells=_cells(), last=NUM_OPERATIONS - 1, target=data["target"],
        tables=_pair("decoded", "verdict"), walks=_pair("walk", "passed"), data=text,
    )  # fmt: skip
    return f"<style>\n{style}</style>\n{page}<script>\n{script}</script>\n"


def property_bits() -> torch.Tensor:
    """Of every operation, which of ``PROPERTIES`` it has: bit k for the k-th; uint8 [19683]."""
    bits = torch.stack([holds(all_operations()) << k for k, holds in enumerate(PROPERTIES.values())])
    return bits.sum(0).to(torch.uint8)


def _packed(model: TernaryVAE) -> dict[str, Any]:
    """Both pathways' parameters as one base64 text, and where each begins and ends in it."""
    places, parts, offset = {}, [], 0
    for name, value in model.state_dict().items():
        if not name.startswith("statenet."):
            places[name] = [offset, offset := offset + value.numel()]
            parts.append(value.detach().cpu().float().flatten())
    weights = _base64(torch.cat(parts).numpy().astype("<f4").tobytes())
    return {"tensors": places, "weights": weights, "latent": model.pathway_a.encoder.mu.out_features}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _cells() -> str:
    """The nine buttons: rows x, columns y."""
    rows = ""
    for x in range(3):
        cells = "".join(f'<td><button type="button" data-cell="{3 * x + y}"></button></td>' for y in range(3))
        rows += f'<tr><th scope="row">x = {SIGNS[x]}</th>{cells}</tr>'
    heads = "".join(f'<th scope="col">y = {sign}</th>' for sign in SIGNS)
    return f'<table class="cells"><thead><tr><td></td>{heads}</tr></thead><tbody>{rows}</tbody></table>'


def _pair(table: str, words: str) -> str:
    """A decoded table and a line of words for each pathway."""
    return "".join(
        f'<div class="one"><strong class="{p}">pathway {p.upper()}</strong><div data-part="{table}-{p}"></div>'
        f'<p data-part="{words}-{p}" aria-live="polite"></p></div>'
        for p in "ab"
    )


PAGE = """\
<div class="ternary-live" style="{colours}">
<p class="status" data-part="status" role="status">These tools need scripts, which this reader does not run.</p>
<fieldset disabled><legend>One table</legend>
<p>Click an entry, or type −, 0 or + on it.</p>
<div class="line"><div>{cells}</div>
<div class="one"><p><label>Index <input type="number" data-part="index" min="0" max="{last}" step="1"></label></p>
<p><label>Name <select data-part="named">{options}</select></label></p>
<p><button type="button" data-act="random">Any table</button></p>
<p data-part="known" aria-live="polite"></p></div></div>
<ul data-part="properties" aria-label="Properties"></ul>
<p>Each pathway encodes it and decodes the mean of its code; below the value stands its probability.</p>
<div class="line">{tables}</div>
<p>Its codes: mean and standard deviation by dimension, pathway A as circles, pathway B as squares.</p>
<div data-part="codes"></div>
<details><summary>The codes as numbers</summary><div class="scroll" tabindex="0" role="region" aria-label="The codes as numbers">
<table aria-label="Mean μ and standard deviation σ of the code in each dimension, by pathway"><thead><tr><th scope="col">dimension</th>
<th scope="col">A: μ</th><th scope="col">A: σ</th><th scope="col">B: μ</th><th scope="col">B: σ</th></tr></thead>
<tbody data-part="code-rows"></tbody></table></div></details></fieldset>
<fieldset disabled><legend>A walk from this table to another</legend>
<div class="line"><label>To <select data-part="target-named" aria-label="Name of the other table">{options}</select></label>
<label>index <input type="number" data-part="target" min="0" max="{last}" step="1" value="{target}"></label>
<label>Way gone <input type="range" data-part="share" min="0" max="100" value="50"></label>
<output data-part="share-words"></output></div>
<p>The code is moved in a straight line from one mean to the other and decoded on the way.</p>
<div class="line">{walks}</div></fieldset>
<fieldset disabled><legend>Coverage as it grows</legend>
<div class="line"><button type="button" data-draws="1000">1,000 draws</button><button type="button" data-draws="10000">10,000 draws</button>
<label>Seed <input type="number" data-part="seed" min="0" max="999999" step="1" value="0"></label>
<button type="button" data-act="restart">Start again</button></div>
<div data-part="coverage"></div>
<p>After <output data-part="drawn"></output> argmax draws: <strong class="a">pathway A</strong> (solid)
has made <output data-part="found-a"></output> different operations, <strong class="b">pathway B</strong> (dashed)
<output data-part="found-b"></output> of them; a fair die with 19,683 faces
(dotted) would show <output data-part="die"></output>.</p></fieldset>
<script type="application/json">{data}</script>
</div>
"""
