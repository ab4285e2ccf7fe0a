"""The claims ledger in words: numbers with their intervals, entries as text and as boxes on a page, links to where they are shown."""

from __future__ import annotations

import html
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from ternary_lib.computed_facts import OF_SEED_42
from ternary_lib.config import PROJECT_ROOT, ConfigError
from ternary_lib.figures import COLOURS
from ternary_lib.ledger import EXACT, MARKS, TOPICS, Claim, Measurement, Rule, Store, Value, by_seed, conditions, names_read
from ternary_lib.report import counted

OWN_PAGE = "chapter-claims"  # an entry that links its own topic there is shown by its card alone
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def spell(value: float, half: float | None = None) -> str:
    """A number to the digits that its interval leaves it: two of the interval's half width.

    >>> spell(97.64321, 0.1234), spell(168770.0), spell(-0.25)
    ('97.64', '168,770', '−0.25')
    """
    if half:
        digits = min(6, max(0, 1 - math.floor(math.log10(half))))
        text = f"{value:,.{digits}f}"
    elif 0 < abs(value) < 1e-4:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}·10{str(int(exponent)).translate(_RAISED)}".replace("-", "−")
    elif value == round(value) and abs(value) < 1e9:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.5g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return ("0" if float(text.replace(",", "")) == 0 else text).replace("-", "−")


def spell_value(m: Measurement) -> str:
    """A measurement in words: value, unit, interval and number of seeds."""
    v, unit = m.value, f"\u00a0{m.unit}" if m.unit else ""
    if v is None or v.mean is None:
        return "not recorded yet (n\u00a0=\u00a00)"
    mean, low, high = _spell_interval(m, v)
    if v.n == EXACT:
        return f"{mean}{unit} ({'seed 42' if m.quantity in OF_SEED_42 else 'exact'})"
    if not low:
        return f"{mean}{unit} (n\u00a0=\u00a0{v.n}, no interval)"
    return f"{mean}{unit} (95\u00a0% interval {low} to {high}, n\u00a0=\u00a0{v.n})"


def _spell_interval(m: Measurement, v: Value) -> tuple[str, str, str]:
    """Mean and ends of the interval, with a sign where they are a difference; no ends where there is no interval."""
    half = (v.high - v.low) / 2 if v.low is not None and v.high is not None else None
    numbers = [x for x in (v.mean, v.low, v.high) if x is not None]
    spelt = [("+" if m.against and x > 0 else "") + spell(x, half) for x in numbers]
    return spelt[0], *(spelt[1:] if half is not None else ("", ""))


def seed_rows(claim: Claim, store: Store) -> list[dict[str, str]]:
    """Every number over seeds that the entry's rule reads, as a row of a table: its mean and interval, and each seed's own."""
    rows, read = [], names_read(claim.rule) if claim.rule else set()
    for m in claim.measured:
        found = by_seed(m, store) if m.name in read else {}
        if found and m.value and m.value.mean is not None:
            mean, low, high = _spell_interval(m, m.value)
            half = (m.value.high - m.value.low) / 2 if m.value.high is not None and m.value.low is not None else None
            whole = all(x == round(x) for x in found.values())
            each = ", ".join(("+" if m.against and x > 0 else "") + spell(x, None if whole else half) for x in found.values())
            unit = f", {m.unit}" if m.unit else ""
            middle = f"{mean} [{low}, {high}]" if low else mean
            rows.append({"entry": claim.id, "measured": m.label + unit, "mean [95 %]": middle, "seed by seed": each})
    return rows


def card(claim: Claim, root: Path = PROJECT_ROOT, store: Store | None = None) -> str:
    """One entry as MyST Markdown inside a box: verdict, claim, source, numbers, reason, where it is shown, how to check it."""
    verdict = f"{MARKS[claim.verdict]}\u00a0{claim.verdict}"
    sections: dict[str, list[str]] = {}
    for place in claim.source:
        sections.setdefault(place.document, []).append(f"“{place.section}”")
    places = "; ".join(f"{document}, {', '.join(named)}" for document, named in sections.items())
    lines = [
        f'<div class="ternary-claim" data-verdict="{claim.verdict}" id="claim-{claim.id}" style="{_look(claim.verdict)}">',
        f"**{verdict}** · {claim.claim}<br><small>{html.escape(places)} · entry <code>{claim.id}</code></small>",
        "\n".join(_bullets(claim.measured)),
        f"{claim.said()} {_shown(claim.shown_in, root)}",
        f"<details><summary>Check it</summary><p><code>{html.escape(claim.test)}</code></p>{_rule_html(claim.rule)}"
        f"{_seeds_html(claim, store or Store())}</details>",
        "</div>",
    ]
    return "\n\n".join(line for line in lines if line)


def _bullets(measured: Sequence[Measurement]) -> list[str]:
    """A line a measurement; the same of both pathways share one."""
    lines, left = [], list(measured)
    while left:
        first = left.pop(0)
        if first.label.endswith(", A") and left and left[0].label == first.label[:-1] + "B":
            lines.append(f"- {first.label[:-3]}: A {_bold(first)}, B {_bold(left.pop(0))}")
        else:
            lines.append(f"- {first.label}: {_bold(first)}")
    return lines


def _bold(m: Measurement) -> str:
    number, bracket, rest = spell_value(m).partition(" (")
    return f"**{number}**{bracket}{rest}"


def _look(verdict: str) -> str:
    colour = {"confirmed": COLOURS["argmax"], "partly": COLOURS["expectation"], "refuted": COLOURS["b"]}.get(verdict, COLOURS["uniform"])
    line = "dotted" if verdict == "pending" else "dashed" if verdict == "not testable" else "solid"
    return f"border-left:5px {line} {colour};padding:.1em 0 .1em .9em;margin:1.2em 0;overflow-wrap:anywhere"


def link(label: str, words: str = "", root: Path = PROJECT_ROOT) -> str:
    """A role that leads from a chapter to the page of a label or file name.

    Raises:
        ConfigError: no page has this label.
    """
    page = page_of(label, root)
    if page is None:
        raise ConfigError(f"no page has the label {label}")
    words = words or headings(page)[0]
    if page.stem != label:
        return f"{{ref}}`{words} <{label}>`"
    return f"{{doc}}`{words} <{label if page.suffix == '.ipynb' else f'../{label}'}>`"


def _shown(places: Sequence[str], root: Path) -> str:
    links = [
        link(label, root=root) + (f", *{section}*" if section else "")
        for label, _, section in (place.partition("#") for place in places)
        if label != OWN_PAGE or section not in TOPICS.values()
    ]
    return f"Shown in {'; '.join(links)}." if links else "No other page shows it."


def _rule_html(rule: Rule | None) -> str:
    if rule is None:
        return ""
    parts = [f"{verdict} if <code>{html.escape(text)}</code>" for verdict, text in conditions(rule).items()]
    return f"<p>Rule: {'; '.join(parts)}; otherwise {rule.otherwise}.</p>"


def _seeds_html(claim: Claim, store: Store) -> str:
    items = "".join(f"<li>{html.escape(row['measured'])}: {row['seed by seed']}</li>" for row in seed_rows(claim, store))
    return f"<p>What the rule reads, seed by seed:</p><ul>{items}</ul>" if items else ""


def show_cards(claims: Iterable[Claim], topic: str) -> None:
    """Display every entry of a topic, in a notebook."""
    from IPython.display import Markdown, display

    store = Store()
    display(Markdown("\n\n".join(card(claim, store=store) for claim in claims if claim.topic == topic)))


def tally(claims: Sequence[Claim]) -> str:
    """How many claims came to what, as a sentence."""
    found = Counter(claim.verdict for claim in claims)
    held = (
        f"{counted(found['confirmed'], 'holds as it stands', 'hold as they stand')}, {counted(found['partly'], 'holds', 'hold')} in part "
        f"and {counted(found['refuted'], 'does', 'do')} not hold"
    )
    waiting = f" {counted(found['pending'], 'waits', 'wait')} for runs that are not recorded in this checkout." if found["pending"] else ""
    return f"Of {len(claims)} statements, {held}; {found['not testable']} cannot be decided by anything that was measured here.{waiting}"


def gist(claim: Claim) -> str:
    """The claim's first sentence."""
    return claim.claim.split(". ")[0].removesuffix(".") + "."


def describe(claim: Claim) -> str:
    """One entry as lines of plain text."""
    lines = [f"{claim.id}: {claim.verdict}", f"  {claim.claim}"]
    lines += [f"  {m.label}: {spell_value(m)}" for m in claim.measured]
    if claim.rule:
        lines += [f"  {verdict} if {text}" for verdict, text in conditions(claim.rule).items()] + [f"  otherwise {claim.rule.otherwise}"]
    return "\n".join([*lines, f"  {claim.said()}"])


def page_of(label: str, root: Path = PROJECT_ROOT) -> Path | None:
    """The page that carries a label, or whose file has that name."""
    pages = [*sorted((root / "notebooks").glob("*.ipynb")), *sorted((root / "book").glob("*.md"))]
    return next((p for p in pages if p.stem == label or re.search(rf"^\({re.escape(label)}\)=[ \t]*$", _prose(p), re.MULTILINE)), None)


def headings(page: Path) -> list[str]:
    """The headings of a page, its title first."""
    return [line.lstrip("#").strip() for line in _prose(page).splitlines() if re.match(r"#{1,4} ", line)]


def _prose(page: Path) -> str:
    return _read_prose(page, page.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _read_prose(page: Path, _: int) -> str:
    text = page.read_text(encoding="utf-8")
    if page.suffix != ".ipynb":
        return text
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")
