"""Words and tables that carry measured values into a page: `say`, `table` and the `colophon` at a chapter's end."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# What is said of each pathway's reconstruction: words, the record's column, what it is multiplied by, its digits.
MEASURES = (
    ("exact reconstruction from μ, all operations, %", "exact_all", 100, ".2f"),
    ("the same, test set alone, %", "exact_test", 100, ".2f"),
    ("rate (KL), nats", "rate", 1, ".3f"),
    ("distortion (CE), nats", "distortion", 1, ".3f"),
    ("−ELBO at τ = 1, ρ = 0, nats (limit 9 ln 3 = 9.888)", "neg_elbo", 1, ".3f"),
    ("active latent dimensions", "active_units", 1, ".0f"),
)


def display_html(page: str, plain: str) -> None:
    """Display one HTML output, with its words for readers that show no HTML."""
    from IPython.display import display

    display({"text/html": page, "text/plain": plain}, raw=True)


def minus(text: str) -> str:
    """The text with a minus sign, as long as a plus, before each negative number; hyphens stay.

    >>> minus("-0.5 (-1 to +2), 1e-05, 2026-11-30")
    '−0.5 (−1 to +2), 1e-05, 2026-11-30'
    """
    return re.sub(r"(?<![\w.)-])-(?=\.?\d)", "−", text)


def say(text: str, **values: Any) -> None:
    """Display Markdown with measured values filled in: `say("{n:,} epochs", n=400)`. Braces of formulas are doubled."""
    from IPython.display import Markdown, display

    display(Markdown(_minus_in_markup(text.format(**values))))


def _minus_in_markup(text: str) -> str:
    parts = re.split(r"(`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|<[^>]*>)", text, flags=re.DOTALL)  # code, formulas and tags at odd places
    return "".join(part if k % 2 else minus(part) for k, part in enumerate(parts))


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign, the minus as long as the plus; what rounds to nothing has a plus.

    >>> signed(-0.5), signed(0.25, 1), signed(-0.001)
    ('−0.50', '+0.2', '+0.00')
    """
    return f"{round(float(value), digits) + 0.0:+.{digits}f}".replace("-", "−")


def listed(words: Iterable[str], none: str = "none") -> str:
    """Words in a row.

    >>> listed("abc"), listed("a"), listed("")
    ('a, b and c', 'a', 'none')
    """
    *first, last = [*words] or [none]
    return f"{', '.join(first)} and {last}" if first else last


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun, or with the verb that agrees with it.

    >>> counted(1, "entry", "entries"), counted(2_000, "run"), counted(1, "waits", "wait")
    ('1 entry', '2,000 runs', '1 waits')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


class Html(str):
    """Text that is HTML already: a table shows it unescaped."""

    def _repr_html_(self) -> str:
        return str(self)


def _breakable(text: str) -> str:
    """Let long hashes break on a narrow page, without a character that would spoil copying them."""
    return Html(re.sub(r"[0-9a-f]{17,}", lambda m: re.sub(r"(.{8})(?=.)", r"\1<wbr>", m.group()), html.escape(text)))


def _cell(value: Any) -> tuple[str, bool]:
    """Give a table cell's HTML and whether it is a number."""
    if hasattr(value, "_repr_html_"):
        return value._repr_html_(), False
    if value is None:
        return "—", False
    if isinstance(value, bool) or getattr(getattr(value, "dtype", None), "kind", "") == "b":
        return (
            '<span role="img" aria-label="yes">✓</span>' if value else '<strong role="img" aria-label="no">✗</strong>'
        ), False
    if isinstance(value, float) or hasattr(value, "dtype"):
        value = format(float(value), ".4g")
    text = minus(str(value))
    return html.escape(text), bool(
        re.fullmatch(r"[-+−±≈<>≤≥]?\s*[\d.,\s]+(?:e[-+]?\d+)?(?:\s*(?:±|/)\s*[\d.,]+)?\s*[%×]?", text)
    )


def table_html(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str] | Mapping[str, str] | None = None,
    caption: str | None = None,
) -> str:
    """Give the HTML that `table` displays."""
    keys = list(columns) if columns else list(dict.fromkeys(key for row in rows for key in row))
    heads = columns if isinstance(columns, Mapping) else {key: key for key in keys}
    body, numeric = [], {key: True for key in keys}
    for row in rows:
        cells = []
        for key in keys:
            text, number = _cell(row.get(key))
            numeric[key] = numeric[key] and (number or text == "—")
            cells.append((key, text))
        body.append(cells)
    side = {key: f' style="text-align:{"right" if numeric[key] else "left"}"' for key in keys}
    # a corner without words is no header: a screen reader would announce an empty one
    head = "".join(f'<th scope="col"{side[key]}>{html.escape(str(heads[key]))}</th>' if heads[key] else "<td></td>" for key in keys)
    lines = "".join("<tr>" + "".join(f"<td{side[key]}>{text}</td>" for key, text in cells) + "</tr>" for cells in body)
    caption = _minus_in_markup(caption) if caption else caption
    title = f'<p class="ternary-caption" style="margin:0 0 .4em">{caption}</p>' if caption else ""
    name = f' aria-label="{html.escape(re.sub("<[^>]+>", "", caption))}"' if caption else ""
    return (
        f'<div class="ternary-table">{title}<div style="overflow-x:auto;max-width:100%" tabindex="0">'
        f'<table class="dataframe" style="margin:0"{name}><thead><tr>{head}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div></div>"
    )


def table(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str] | Mapping[str, str] | None = None,
    caption: str | None = None,
) -> None:
    """Display rows as a table that scrolls sideways in its own box on a phone.

    `columns` picks and orders keys (a mapping also renames them). Text is escaped, except in objects with
    `_repr_html_`; True and False are shown as ✓ and ✗, None as a dash; a column of numbers is set flush right.
    `caption` may hold HTML.
    """
    keys = list(columns) if columns else list(dict.fromkeys(key for row in rows for key in row))
    plain = "\n".join(" | ".join(re.sub("<[^>]+>", "", str(row.get(key))) for key in keys) for row in rows)
    display_html(table_html(rows, columns, caption), " | ".join(keys) + "\n" + plain)


def colophon_rows(cfg: Any, run: Any = None, seconds: float | None = None) -> list[dict[str, str]]:
    """List what this page was made with, as rows of `what` and `value`."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from ternary_lib import records
    from ternary_lib.config import config_hash

    rows = {"Python": platform.python_version()}
    for package in ("torch", "numpy", "matplotlib", "seaborn", "ipywidgets", "papermill"):
        try:
            rows[package] = version(package)
        except PackageNotFoundError:
            continue
    rows |= {"platform": f"{platform.system()} {platform.machine()}", "library commit": records.library_commit()}
    rows |= {"configuration": f"{cfg.name}, {config_hash(cfg)}"}
    record = run.record if run is not None else {}
    named = {"started": "run started", "library_commit": "run's commit", "device": "run's device"}
    rows |= {label: str(record[key]) for key, label in named.items() if record.get(key)}
    if record.get("hardware"):
        rows["run's hardware"] = ", ".join(str(value) for value in record["hardware"].values())
    if record.get("weights_sha256"):
        rows["weights SHA-256"] = record["weights_sha256"]
    if record.get("seconds"):
        # an epoch is evaluated while the next one trains, so that the parts may add up to more than the whole
        beside = {"evaluate": "evaluate (beside it) "}
        rows["seconds of the run"] = ", ".join(f"{beside.get(key, key + ' ')}{value:.1f}" for key, value in record["seconds"].items())
    if seconds is not None:
        rows["seconds of this page"] = f"{seconds:.1f}"
    return [{"what": key, "value": _breakable(value)} for key, value in rows.items() if value]


def colophon(cfg: Any, run: Any = None, seconds: float | None = None) -> None:
    """Display versions, configuration, device and timing of this page and of the run it read."""
    table(colophon_rows(cfg, run, seconds), {"what": "", "value": "made with"})
