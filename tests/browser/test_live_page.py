"""The live tables in a real Chromium, beside what the library computes."""

from __future__ import annotations

import pytest
import torch
from built import SITE

from ternary_lib import load_model
from ternary_lib.coverage import cell_counts
from ternary_lib.operations import from_index, is_associative, is_commutative, to_index

LIVE = ".ternary-live[data-state=ready]"


def _set(page, name: str, value: object) -> None:
    page.fill(f"[data-part={name}]", str(value))
    page.dispatch_event(f"[data-part={name}]", "change")


def _shown(page, name: str) -> tuple[list[int], list[float]]:
    """A decoded table: its values and their probabilities."""
    read = "c => [c.dataset.trit, c.querySelector('small').innerText]"
    cells = page.evaluate(f"[...document.querySelectorAll('[data-part={name}] td')].map({read})")
    return [int(trit) - 1 for trit, _ in cells], [float(text.rstrip(" %")) / 100 for _, text in cells]


def _shown_codes(page, pathway: int) -> tuple[list[float], list[float]]:
    """The means and the standard deviations that the table of codes holds for one pathway."""
    read = "rows => rows.map(row => [...row.querySelectorAll('td')].map(cell => Number(cell.textContent.replace('−', '-'))))"
    rows = page.eval_on_selector_all("[data-part=code-rows] tr", read)
    return [row[2 * pathway] for row in rows], [row[2 * pathway + 1] for row in rows]


def _expected(pathway, z) -> tuple[list[int], list[float]]:
    top = pathway.decoder(z).softmax(-1).max(-1)
    return (top.indices - 1)[0].tolist(), top.values[0].tolist()


@torch.inference_mode()
def test_live_tables_show_what_the_library_computes(visit):
    one, model = visit(), load_model("ternary_v5_5")
    page = one.open("book/tables.html")
    page.wait_for_selector(LIVE)
    start = page.input_value("[data-part=index]")
    page.click("[data-cell='8']")  # +1 becomes -1
    assert page.input_value("[data-part=index]") == str(int(start) - 2)
    page.focus("[data-cell='8']")
    page.keyboard.press("+")
    assert page.input_value("[data-part=index]") == start
    codes = {}
    for index in (0, 19_682, 4_049, 881, 12_345, 7_777):
        _set(page, "index", index)
        x = from_index(index)[None]
        said = page.inner_text("[data-part=properties]")
        assert ("not commutative" not in said, "not associative" not in said) == (bool(is_commutative(x)), bool(is_associative(x)))
        for name, pathway in (("a", model.pathway_a), ("b", model.pathway_b)):
            codes[name, index], logvar = pathway.encoder(x)
            mu, sigma = _shown_codes(page, "AB".index(name.upper()))
            assert mu == pytest.approx(codes[name, index][0].tolist(), abs=6e-4)  # three digits are shown
            assert sigma == pytest.approx((logvar / 2).exp()[0].tolist(), abs=6e-4)
            table, probability = _shown(page, f"decoded-{name}")
            wanted, sureness = _expected(pathway, codes[name, index])
            assert table == wanted
            assert probability == pytest.approx(sureness, abs=6e-4)  # three digits are shown
            verdict = page.inner_text(f"[data-part=verdict-{name}]")
            assert (verdict == "exact") == (int(to_index(torch.tensor(table))) == index), verdict
    _set(page, "target", 881)
    page.fill("[data-part=share]", "30")
    for name, pathway in (("a", model.pathway_a), ("b", model.pathway_b)):
        z = torch.lerp(codes[name, 7_777], codes[name, 881], 0.3)
        assert _shown(page, f"walk-{name}")[1] == pytest.approx(_expected(pathway, z)[1], abs=6e-4)
    assert one.outside == one.errors == []


def test_live_coverage_grows_as_the_library_expects(visit):
    page = visit().open("book/tables.html")
    page.wait_for_selector(LIVE)
    page.click("[data-draws='10000']")
    page.wait_for_function("document.querySelector('[data-part=drawn]').innerText === '10,000'")
    model = load_model("ternary_v5_5")
    for name, pathway in (("a", model.pathway_a), ("b", model.pathway_b)):
        masses = cell_counts(pathway.decoder, 1_968_300, torch.Generator().manual_seed(1)).double() / 1_968_300
        hit = -torch.expm1(10_000 * torch.log1p(-masses))
        found = float(page.inner_text(f"[data-part=found-{name}]").replace(",", ""))
        spread = float((hit * (1 - hit)).sum().sqrt())  # an upper bound: cells compete for draws
        assert abs(found - float(hit.sum())) < 4 * spread


def test_live_tables_work_from_a_file(browser):
    page = browser.new_page()
    page.goto((SITE / "book/tables.html").as_uri())
    page.wait_for_selector(LIVE)
    page.select_option("[data-part=named]", "113")
    assert page.input_value("[data-part=index]") == "113"
    page.close()
