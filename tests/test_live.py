"""The live page: what it holds is what the library knows. That the browser computes the same network, `make check-pages` shows."""

from __future__ import annotations

import base64
import json
import re

import numpy as np
import pytest
import torch

from ternary_lib import live, operations
from ternary_lib.config import ModelConfig
from ternary_lib.model import TernaryVAE


@pytest.fixture(scope="module")
def model():
    return TernaryVAE(ModelConfig(), torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def data(model):
    page = live.live_html(model)
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.S)[1])


def test_the_page_holds_every_parameter_of_both_pathways(model, data):
    flat = np.frombuffer(base64.b64decode(data["weights"]), "<f4")
    held = {name: value for name, value in model.state_dict().items() if name.startswith("pathway_")}
    assert data["tensors"].keys() == held.keys()
    assert len(flat) == 168_770 - 1_068  # all but StateNet's
    for name, (start, stop) in data["tensors"].items():
        assert np.array_equal(flat[start:stop], held[name].numpy().ravel()), name


def test_properties_are_the_librarys(data):
    bits = np.frombuffer(base64.b64decode(data["properties"]), np.uint8)
    counts = [int((bits >> k & 1).sum()) for k in range(6)]
    assert dict(zip(data["property_names"], counts, strict=True)) == {
        "commutative": 729, "associative": 113, "idempotent": 729, "with an identity": 243, "a Latin square": 12, "conservative": 64,
    }  # fmt: skip
    assert bits[113] == 0b101111  # Kleene's min: everything but a Latin square


def test_every_named_operation_can_be_chosen(model, data):
    page = live.live_html(model)
    assert {one["index"] for one in data["named"]} == {one.index for one in operations.NAMED.values()}
    assert all(page.count(f'<option value="{one["index"]}">') == 2 for one in data["named"])  # as a table and as a walk's end


def test_two_networks_on_one_page_start_one_by_one(model):
    page = live.live_html(model)
    assert page.count("<fieldset disabled>") == 3, "without scripts nothing pretends to work"
    assert ".ternary-live:not([data-state])" in page


def test_shown_in_a_notebook_with_words_beside_it(model, monkeypatch):
    shown = []
    monkeypatch.setattr(live, "display_html", lambda page, plain: shown.append((page, plain)))
    live.show(model)
    assert shown[0][0] == live.live_html(model)
    assert "interactive" in shown[0][1]
