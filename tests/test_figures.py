"""Figures, tables and captions: deterministic, accessible, legible on light and dark pages."""

import csv
import io
import re
import xml.etree.ElementTree as ET
from types import SimpleNamespace
from urllib.parse import unquote

import matplotlib

matplotlib.use("agg")
import itertools

import matplotlib.pyplot as plt
import pytest

from ternary_lib import figures, report, svg
from ternary_lib.config import Config, config_hash, load_config

pytestmark = pytest.mark.usefixtures("styled")


def draw():
    fig, ax = plt.subplots()
    figures.shade_phases(ax, Config())
    ax.plot([0, 200, 400], [0.1, 0.3, 0.7], label="ρ", clip_on=True)
    ax.set(xlabel="epoch", ylabel="permeability", title="One line")
    ax.legend()
    return fig


def page(name="one", **more):
    return figures.figure_html(draw(), name, "A <b>caption</b>.", 'A "line" & more', **more)


def test_same_figure_same_bytes():
    assert page() == page()


def test_ids_of_two_figures_never_meet():
    ids = [set(re.findall(r'\bid="([^"]+)"', page(name))) for name in ("one", "two")]
    assert len(ids[0]) > 5 and not ids[0] & ids[1]
    text = page()
    used = set(re.findall(r'(?:xlink:href="|url\()#([^")]+)', text))
    assert used and used <= set(re.findall(r'\bid="([^"]+)"', text))


def test_ink_follows_the_page_and_nothing_leaks_into_it():
    text = page()
    assert "currentColor" in text and "#000000" not in text.lower()
    assert (
        "<style" not in text
        and "<script" not in text
        and "<!--" not in text
        and "http" not in re.sub(r"http://www\.w3\.org/\S+", "", text)
    )


def test_alt_caption_and_anchor():
    text = page()
    assert 'role="img"' in text and 'aria-label="A &quot;line&quot; &amp; more"' in text
    assert 'id="fig-one"' in text and "A <b>caption</b>." in text


def test_downloads_hold_the_drawing_and_the_numbers():
    links = dict(
        re.findall(
            r'<a download="([^"]+)" href="data:[^,]*,([^"]*)"', page(data={"epoch": [0, 200], "rho": [0.1, 0.3]})
        )
    )
    drawing = ET.fromstring(unquote(links["one.svg"]))
    assert drawing.tag.endswith("svg") and drawing.find("{*}rect").get("fill") == "white"
    assert list(csv.reader(io.StringIO(unquote(links["one.csv"])))) == [["epoch", "rho"], ["0", "0.1"], ["200", "0.3"]]


def test_labelled_lines_are_exported_without_data():
    href = re.search(r'download="one.csv" href="data:[^,]*,([^"]*)"', page()).group(1)
    rows = list(csv.DictReader(io.StringIO(unquote(href))))
    assert [(r["line"], float(r["x"]), float(r["y"])) for r in rows] == [
        ("ρ", 0, 0.1),
        ("ρ", 200, 0.3),
        ("ρ", 400, 0.7),
    ]


@pytest.mark.parametrize(
    ("name", "caption", "alt"), [("Bad name", "c", "a"), ('x"><script>', "c", "a"), ("one", " ", "a"), ("one", "c", "")]
)
def test_a_figure_without_name_caption_or_alt_is_refused(name, caption, alt):
    with pytest.raises(ValueError, match="figure"):
        figures.figure_html(draw(), name, caption, alt)


def test_a_figure_without_numbers_is_refused():
    fig, ax = plt.subplots()
    ax.bar([0, 1], [2, 3])
    with pytest.raises(ValueError, match="pass data="):
        figures.figure_html(fig, "bars", "c", "a")


def test_a_default_figure_fits_a_phone_at_nine_pixels():
    least = int(re.search(r"min-width:(\d+)px", page()).group(1))
    assert least <= 350


def luminance(colour):
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in matplotlib.colors.to_rgb(colour)]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), channels, strict=True))


@pytest.mark.parametrize("colour", figures.PALETTE)
def test_every_colour_is_legible_on_white_and_on_near_black(colour):
    lum, dark = luminance(colour), luminance("#14181e")
    assert 1.05 / (lum + 0.05) >= 3 and (lum + 0.05) / (dark + 0.05) >= 3


def test_phases_of_production_smoke_and_a_short_run():
    assert figures.phase_spans(Config()) == [(1, 0, 40), (2, 40, 120), (3, 120, 250), (4, 250, 400)]
    assert [p for p, *_ in figures.phase_spans(load_config("configs/smoke.yaml"))] == [1, 2, 3, 4]
    assert figures.phase_spans(SimpleNamespace(schedules=SimpleNamespace(phases=(5, 5, 9), total_epochs=7))) == [
        (1, 0, 5),
        (3, 5, 7),
    ]


def test_phase_labels_fit_their_room():
    fig, ax = plt.subplots()
    figures.shade_phases(ax, Config())
    fig.canvas.draw()
    boxes = [t.get_window_extent() for t in ax.texts]
    assert len(boxes) == 4 and all(a.x1 <= b.x0 for a, b in itertools.pairwise(boxes))


def test_title_stands_above_the_phase_labels():
    fig = draw()
    figures.figure_html(fig, "one", "c", "a")
    ax = fig.axes[0]
    title = next(t for t in (ax._left_title, ax.title) if t.get_text())
    assert title.get_window_extent().y0 >= max(t.get_window_extent().y1 for t in ax.texts)


def test_show_gives_one_html_output_and_closes(monkeypatch):
    outputs = []
    monkeypatch.setattr("IPython.display.display", lambda *a, **k: outputs.append(a[0]))
    fig = draw()
    figures.show(fig, "one", "A <b>caption</b>.", "words")
    assert (
        len(outputs) == 1
        and outputs[0]["text/html"].startswith("<figure")
        and outputs[0]["text/plain"] == "Figure one. A caption. (words)"
    )
    assert not plt.fignum_exists(fig.number)


def test_say_fills_in_values(monkeypatch):
    outputs = []
    monkeypatch.setattr("IPython.display.display", lambda *a, **k: outputs.append(a[0]))
    figures.say("{n:,} of $3^{{9}}$, {share:.1%}", n=19683, share=0.5)
    assert outputs[0].data == "19,683 of $3^{9}$, 50.0%"
    with pytest.raises(KeyError):
        figures.say("{missing}")


def test_negative_numbers_have_a_minus_sign_outside_of_code_and_formulas(monkeypatch):
    outputs = []
    monkeypatch.setattr("IPython.display.display", lambda *a, **k: outputs.append(a[0]))
    figures.say("{x:+.1f} (-2 to -.5), `-p seed -1`, $-3$, $$a\n -3$$, <i style='margin: -1px'>-4</i>, epochs 10-39, run-2", x=-1)
    assert outputs[0].data == (
        "−1.0 (−2 to −.5), `-p seed -1`, $-3$, $$a\n -3$$, <i style='margin: -1px'>−4</i>, epochs 10-39, run-2"
    )
    text = report.table_html([{"got": -0.25}, {"got": "-1e-05"}, {"got": "−3"}], caption="<b style='top: -1px'>-7</b>")
    assert "<b style='top: -1px'>−7</b>" in text
    assert [cell in text for cell in (">−0.25<", ">−1e-05<", ">−3<")] == [True] * 3
    assert text.count("text-align:right") == 4


def test_table_escapes_aligns_and_marks():
    text = report.table_html(
        [{"name": "<x>", "got": "1,234.5 ± 0.1 %", "match": True}, {"name": "y", "got": None, "match": False}],
        caption="<i>t</i>",
    )
    assert "&lt;x&gt;" in text and "<i>t</i>" in text and "✓" in text and "✗" in text and "—" in text
    assert text.count("text-align:right") == 3  # the head and both cells of `got`
    assert 'scope="col"' in text


def test_table_picks_and_renames_columns():
    text = report.table_html([{"a": 1, "b": 2.0}], {"b": "second"})
    assert "second" in text and ">2<" in text and ">1<" not in text


def test_table_marks_what_numpy_compares():
    import numpy as np

    assert "✓" in report.table_html([{"match": np.float64(1) < 2}])
    assert "✗" in report.table_html([{"match": np.float64(1) > 2}])


def test_csv_of_rows_columns_and_numpy():
    import numpy as np

    assert svg.to_csv([{"a": 1}, {"b": np.float64(0.5)}]) == "a,b\n1,\n,0.5\n"
    assert svg.to_csv({"a": np.array([1, 2])}) == "a\n1\n2\n"


def test_colophon_reads_config_and_run():
    seconds = {"train": 1.25, "total": 2.0}
    record = {"device": "cpu", "hardware": {"cores": 2}, "seconds": seconds, "weights_sha256": "ab"}
    rows = {r["what"]: r["value"] for r in report.colophon_rows(Config(), SimpleNamespace(record=record), seconds=3.0)}
    assert rows["run's device"] == "cpu" and rows["run's hardware"] == "2" and rows["weights SHA-256"] == "ab"
    assert rows["seconds of the run"] == "train 1.2, total 2.0" and "torch" in rows
    assert rows["configuration"].startswith("ternary_v5_5, ")
    assert rows["configuration"].replace("<wbr>", "").endswith(config_hash(Config()))
