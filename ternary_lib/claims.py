"""The claims ledger: every checkable statement of the sources, how it was tested, what was measured, and the verdict.

``results/claims.yaml`` holds words and rules; its numbers are recomputed from the records and definitions that each entry
names (``quantities``), and its verdicts follow from its rules. ``python -m ternary_lib.claims`` shows entries,
``--check`` finds every fault, ``--update`` writes numbers and verdicts anew.
"""

from __future__ import annotations

import argparse
import ast
import html
import json
import math
import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from ternary_lib import records
from ternary_lib.config import PROJECT_ROOT, ConfigError, config_from_mapping, config_hash, describe_fault
from ternary_lib.files import write_atomically
from ternary_lib.quantities import FACTS, OF_RECORD
from ternary_lib.sections import Section
from ternary_lib.strict_yaml import nearest, one_line, parse_yaml

Verdict = Literal["confirmed", "partly", "refuted", "not testable", "pending"]
MARKS = {"confirmed": "✓", "partly": "◐", "refuted": "✗", "not testable": "?", "pending": "…"}
TOPICS = {
    "architecture": "Architecture and counts",
    "coverage": "Coverage",
    "stability": "Training, stability and cost",
    "theorems": "Theory and theorems",
    "losses": "Losses and balance",
    "statenet": "StateNet",
    "phases": "Schedules and phases",
    "versions": "The version history",
    "inconsistencies": "The documents against themselves, and against the code",
}
DIGITS = 6  # significant digits of a stored number
EXACT = "exact"  # what stands for the number of seeds where nothing is random
HEADER = """\
# The claims ledger. Words, rules and the names of records are written by hand; every `value`, and every verdict that a rule
# decides, is written by `python -m ternary_lib.claims --update`, which also sets this layout.
"""


class Place(Section):
    """Where a source says it."""

    document: Literal["README", "Mathematical Foundations"]
    section: Annotated[str, Field(min_length=3)]


class Value(Section):
    """A number over seeds: mean, sd, the mean's 95 % interval (Student's t), least and most; ``exact`` has no spread."""

    n: int | Literal["exact"]
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    least: float | None = None
    most: float | None = None


class Measurement(Section):
    """One number: a quantity of every seed's record (or of pairs of them), or a fact of no record."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    label: Annotated[str, Field(min_length=3)]
    unit: str = ""
    quantity: str
    given: dict[str, Any] = Field(default_factory=dict)
    records: str | None = None  # sweeps/<sweep>/<variant>, or runs/<record>
    against: str | None = None  # another variant: the difference to it, seed by seed
    value: Value | None = None


class Rule(Section):
    """When a claim counts as what: conditions on the measured numbers, tried in the order of the fields."""

    confirmed: str | None = None
    refuted: str | None = None
    partly: str | None = None
    otherwise: Verdict = "partly"


class Claim(Section):
    """One statement of the sources."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    topic: str
    source: Annotated[list[Place], Field(min_length=1)]
    claim: Annotated[str, Field(min_length=20)]
    test: Annotated[str, Field(min_length=3)]
    rule: Rule | None = None  # None: nothing this project can measure decides it
    measured: list[Measurement] = Field(default_factory=list)
    verdict: Verdict
    reason: str | dict[Verdict, str]
    shown_in: Annotated[str, Field(pattern=r"^[a-z0-9_-]+(#.+)?$")]

    def said(self) -> str:
        """The reason for the verdict, its numbers filled in."""
        if self.verdict == "pending":
            read = names_read(self.rule) if self.rule else set()
            seeds = [(m.value.n if m.value else 0, needed(m)) for m in self.measured if m.name in read and m.records]
            have, want = min(seeds, key=lambda pair: pair[0] / pair[1])
            return f"The runs that decide this are still being made ({have} of {want} seeds); the verdict then follows from the rule."
        text = self.reason if isinstance(self.reason, str) else self.reason.get(self.verdict, "")
        return text.format_map({m.name: _numbers(m.value) for m in self.measured if m.value})


class LedgerFile(Section):
    """The ledger as its file states it."""

    claims: Annotated[list[Claim], Field(min_length=1)]


def ledger_path() -> Path:
    """Where the ledger lies."""
    return records.results_dir() / "claims.yaml"


def load(path: str | Path | None = None) -> list[Claim]:
    """The ledger's claims.

    Raises:
        ConfigError: one line naming the entry and what was expected.
    """
    path = Path(path or ledger_path())
    try:
        data = parse_yaml(path.read_text(encoding="utf-8"))
        return LedgerFile.model_validate_json(json.dumps(data)).claims
    except ValidationError as error:
        where = error.errors()[0]["loc"]
        known = data["claims"][where[1]].get("id", where[1]) if len(where) > 1 and isinstance(where[1], int) else "the ledger"
        raise ConfigError(f"{path.name}: {known}: {describe_fault(error, LedgerFile)}") from None
    except (yaml.YAMLError, OSError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: not readable as a ledger: {one_line(error)}") from None


def dump(claims: Sequence[Claim]) -> str:
    """The ledger as text, always in the same layout; `load` reads it back equal."""
    blocks = []
    for claim in claims:
        data = claim.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        text = yaml.safe_dump([data], sort_keys=False, allow_unicode=True, width=140, default_flow_style=None)
        blocks.append("\n".join(f"  {line}".rstrip() for line in text.splitlines()))
    return HEADER + "claims:\n" + "\n\n".join(blocks) + "\n"


# --- numbers -----------------------------------------------------------------------------------------------------


class Store:
    """The committed records, each read once; a record of another experiment than its sweep's is not taken for one of it."""

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root) if root else records.results_dir()
        self._found: dict[str, dict[int, dict[str, Any]]] = {}

    def of(self, name: str) -> dict[int, dict[str, Any]]:
        """The records of ``sweeps/<sweep>/<variant>`` or ``runs/<record>``, by seed."""
        if name not in self._found:
            kind, *rest = name.split("/")
            self._found[name] = self._variant(*rest) if kind == "sweeps" else self._run(rest[0])
        return self._found[name]

    def _run(self, name: str) -> dict[int, dict[str, Any]]:
        record = records.read_json(self.root / "runs" / f"{name}.json")
        return {record["seed"]: record}

    def _variant(self, sweep: str, variant: str) -> dict[int, dict[str, Any]]:
        found = {}
        for seed, wanted in _experiments(sweep)[variant].items():
            path = self.root / "sweeps" / sweep / f"{variant}-seed{seed}.json"
            if path.is_file():
                record = records.read_json(path)
                if config_hash(config_from_mapping(record["config"])) == wanted and record.get("numbers") == records.NUMBERS:
                    found[seed] = record
        return found


@lru_cache(maxsize=8)
def _experiments(sweep: str) -> dict[str, dict[int, str]]:
    """Hash of the configuration of every run that a sweep file asks for, by variant and seed."""
    from ternary_lib.sweeps import load_sweep

    found: dict[str, dict[int, str]] = {}
    for task in load_sweep(f"configs/sweeps/{sweep}.yaml"):
        found.setdefault(task.variant, {})[task.config.seed] = config_hash(task.config)
    return found


def _beside(m: Measurement) -> str | None:
    """The records that a measurement is compared with, by their full name."""
    if m.against is None or "/" in m.against:
        return m.against
    return f"{(m.records or '').rpartition('/')[0]}/{m.against}"


def measure(m: Measurement, store: Store) -> Value:
    """The measurement's value now; ``n = 0`` where nothing is recorded yet."""
    if m.records is None:
        return Value(n=EXACT, mean=_rounded(_fact(m.quantity, json.dumps(m.given))))
    quantity, ours = OF_RECORD[m.quantity], store.of(m.records)
    if m.against is None:
        return over_seeds([quantity(record, **m.given) for _, record in sorted(ours.items())])
    theirs = store.of(_beside(m) or "")
    return over_seeds([quantity(ours[s], **m.given) - quantity(theirs[s], **m.given) for s in sorted(ours.keys() & theirs.keys())])


@lru_cache(maxsize=512)
def _fact(quantity: str, given: str) -> float:
    # No run changes a fact, and some take a second: each is computed once.
    return FACTS[quantity](**json.loads(given))


def over_seeds(values: Sequence[float]) -> Value:
    """Mean, sd, 95 % interval and range; no interval of one value, nothing of none.

    >>> over_seeds([1.0, 2.0, 3.0]).high
    4.48414
    """
    from ternary_lib.comparison import summary

    if not values:
        return Value(n=0)
    found = summary(values)._asdict() | {"least": min(values), "most": max(values)}
    return Value(n=found.pop("n"), **{k: None if math.isnan(v) else _rounded(v) for k, v in found.items()})


def _rounded(value: float) -> float:
    return float(f"{float(value):.{DIGITS}g}")


def needed(m: Measurement) -> int:
    """Seeds that a verdict waits for: all that the sweep file asks for (of pairs, those that both sides have)."""
    if m.records is None or m.records.startswith("runs/"):
        return 0
    sides = [name.split("/")[1:] for name in (m.records, _beside(m)) if name]
    return min(len(_experiments(sweep)[variant]) for sweep, variant in sides)


def _numbers(value: Value) -> SimpleNamespace:
    found = value.model_dump()
    if value.n == EXACT:
        found |= dict.fromkeys(("low", "high", "least", "most"), value.mean) | {"sd": 0.0}
    return SimpleNamespace(**found)


# --- verdicts ----------------------------------------------------------------------------------------------------

_ALLOWED = (
    ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.Compare, ast.Lt, ast.LtE, ast.Gt, ast.GtE,
    ast.Eq, ast.NotEq, ast.Name, ast.Load, ast.Attribute, ast.Constant, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Call,
)  # fmt: skip
_CALLS = {"min": min, "max": max, "abs": abs}


def _tree(condition: str) -> ast.Expression:
    try:
        tree = ast.parse(condition, mode="eval")
    except SyntaxError:
        raise ConfigError(f"rule {condition!r}: not a condition") from None
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED) or (isinstance(node, ast.Call) and getattr(node.func, "id", None) not in _CALLS):
            raise ConfigError(f"rule {condition!r}: only comparisons of measured numbers, and, or, not, + - * /, min, max, abs")
    return tree


def names_in(condition: str) -> set[str]:
    """The measurements that a condition reads.

    >>> sorted(names_in("min(a.low, b.low) > 0"))
    ['a', 'b']
    """
    return {node.id for node in ast.walk(_tree(condition)) if isinstance(node, ast.Name)} - _CALLS.keys()


def holds(condition: str, numbers: Mapping[str, SimpleNamespace]) -> bool:
    """Whether a condition holds; ConfigError where it names what was not measured."""
    try:
        return bool(eval(compile(_tree(condition), "rule", "eval"), {"__builtins__": {}}, {**_CALLS, **numbers}))
    except (NameError, AttributeError, TypeError, ZeroDivisionError) as error:
        raise ConfigError(f"rule {condition!r}: {one_line(error)}") from None


def conditions(rule: Rule) -> dict[str, str]:
    """The rule's conditions by verdict, in their order."""
    return {verdict: text for verdict, text in (("confirmed", rule.confirmed), ("refuted", rule.refuted), ("partly", rule.partly)) if text}


def names_read(rule: Rule) -> set[str]:
    """The measurements that a rule reads."""
    return set().union(*map(names_in, conditions(rule).values()))


def decide(claim: Claim) -> Verdict:
    """The verdict that the rule gives for the entry's numbers; ``pending`` while one it reads has too few seeds."""
    if claim.rule is None:
        return "not testable"
    by_name, found, read = {m.name: m for m in claim.measured}, conditions(claim.rule), names_read(claim.rule)
    if unknown := sorted(read - by_name.keys()):
        raise ConfigError(f"rule reads {', '.join(unknown)}, which is not measured")
    values = {name: by_name[name].value or Value(n=0) for name in read}
    if lone := sorted(name for name in read if (by_name[name].records or "").startswith("runs/")):
        raise ConfigError(f"rule reads {', '.join(lone)}, a single run")
    if any(v.n != EXACT and v.n < needed(by_name[name]) for name, v in values.items()):
        return "pending"
    numbers = {name: _numbers(value) for name, value in values.items()}
    true = [verdict for verdict, text in found.items() if holds(text, numbers)]
    if {"confirmed", "refuted"} <= set(true):
        raise ConfigError("rule calls the claim confirmed and refuted at once")
    return true[0] if true else claim.rule.otherwise


def possible(claim: Claim) -> set[str]:
    """The verdicts that an entry can come to."""
    return {*conditions(claim.rule), claim.rule.otherwise} if claim.rule else {"not testable"}


def update(claims: Iterable[Claim], store: Store | None = None) -> list[Claim]:
    """The claims with every value measured now and every verdict as its rule gives it."""
    store, done = store or Store(), []
    for claim in claims:
        measured = [m.model_copy(update={"value": measure(m, store)}) for m in claim.measured]
        claim = claim.model_copy(update={"measured": measured})
        done.append(claim.model_copy(update={"verdict": decide(claim)}))
    return done


# --- faults ------------------------------------------------------------------------------------------------------


def check(claims: Sequence[Claim], store: Store | None = None, root: Path = PROJECT_ROOT) -> list[str]:
    """Every fault of the ledger, one line each; empty where all is well."""
    store, faults = store or Store(), []
    repeated = [name for name, count in Counter(claim.id for claim in claims).items() if count > 1]
    faults += [f"{name}: the id is given twice" for name in repeated]
    for claim in claims:
        faults += [f"{claim.id}: {fault}" for fault in _faults(claim, store, root)]
    return faults


def _faults(claim: Claim, store: Store, root: Path) -> list[str]:
    faults = [] if claim.topic in TOPICS else [f"topic {claim.topic!r} is unknown{nearest(claim.topic, list(TOPICS))}"]
    faults += [f"the name {name} is given twice" for name, k in Counter(m.name for m in claim.measured).items() if k > 1]
    if claim.rule is not None and not claim.measured:
        faults.append("nothing is measured")
    for m in claim.measured:
        faults += [f"{m.name}: {fault}" for fault in _measurement_faults(m, store)]
    try:
        if claim.verdict != (expected := decide(claim)):
            faults.append(f"the verdict is {claim.verdict!r}, its rule gives {expected!r}")
        if missing := sorted(possible(claim) - (claim.reason.keys() if isinstance(claim.reason, dict) else possible(claim))):
            faults.append(f"no reason for the verdict {missing[0]!r}, which its rule can give")
        if not claim.said().strip():
            faults.append(f"no reason for the verdict {claim.verdict!r}")
    except ConfigError as error:
        faults.append(str(error))
    except (KeyError, AttributeError, ValueError, TypeError) as error:
        faults.append(f"reason: cannot be filled in: {one_line(error)}")
    return [*faults, *command_faults(claim.test, root), *link_faults(claim.shown_in, root)]


def _measurement_faults(m: Measurement, store: Store) -> list[str]:
    known = FACTS if m.records is None else OF_RECORD
    if m.quantity not in known:
        return [f"quantity {m.quantity!r} is unknown{nearest(m.quantity, list(known))}"]
    if m.value is None:
        return ["no value"]
    try:
        now = measure(m, store)
    except (ConfigError, KeyError, IndexError, TypeError, ValueError) as error:
        return [f"cannot be measured: {type(error).__name__}: {one_line(error)}"]
    return [] if same(m.value, now, exact=m.records is not None) else [f"the stored value is {_plain(m.value)}, measured is {_plain(now)}"]


def same(stored: Value, now: Value, exact: bool = True) -> bool:
    """Whether two values agree: to the stored digits; a computation by torch to a ten-thousandth, as machines round differently."""
    if stored.n != now.n:
        return False
    near = {"rel_tol": 1e-5 if exact else 1e-4, "abs_tol": 1e-9 if exact else 1e-6}
    pairs = [(getattr(stored, name), getattr(now, name)) for name in ("mean", "sd", "low", "high", "least", "most")]
    return all(a is b is None or (a is not None and b is not None and math.isclose(a, b, **near)) for a, b in pairs)


def _plain(value: Value) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.model_dump(exclude_none=True).items())


def command_faults(command: str, root: Path = PROJECT_ROOT) -> list[str]:
    """What a reader could not run: commands of no known program, files and tests that do not exist."""
    faults = []
    for part in re.split(r"\s*&&\s*", command):
        program, *words = shlex.split(part)
        if (program, words[:2]) == ("python", ["-m", "ternary_lib.claims"]):
            faults += _argument_faults(parser(), words[2:], part)
        elif program == "ternary":
            from ternary_lib.cli import build_parser

            faults += _argument_faults(build_parser(), words, part)
        elif program != "pytest":
            faults.append(f"test: {program!r} is none of this project's commands")
        faults += [fault for word in words if "/" in word or "::" in word for fault in _file_faults(word, root)]
        if program == "ternary" and words[:1] == ["notebook"]:
            faults += [] if page_of(words[1], root) else [f"test: no notebook {words[1]}"]
        if program == "ternary" and words[:1] == ["sweep"] and not faults:
            faults += _variant_faults(words)
    return faults


def _argument_faults(known: argparse.ArgumentParser, words: list[str], part: str) -> list[str]:
    import contextlib
    import io

    try:
        with contextlib.redirect_stderr(io.StringIO()):
            known.parse_args(words)
    except SystemExit:
        return [f"test: not a command that runs: {part}"]
    return []


def _file_faults(word: str, root: Path) -> list[str]:
    file, *parts = word.partition("[")[0].split("::")
    path = root / file
    if not path.exists():
        return [f"test: {file} does not exist"]
    names: Any = ast.parse(path.read_text(encoding="utf-8")).body if parts else []
    for part in parts:
        node = next((n for n in names if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == part), None)
        if node is None:
            return [f"test: {file} has no {part}"]
        names = node.body
    return []


def _variant_faults(words: list[str]) -> list[str]:
    known = _experiments(Path(words[1]).stem)
    named = words[words.index("--only") + 1 :] if "--only" in words else []
    return [f"test: no variant {name}" for name in named if not name.startswith("-") and name not in known]


# Chapters that are named by entries and may not be written yet: their entries name them without a link.
PLANNED = {"chapter-statenet": "06_statenet", "chapter-versions": "07_versions", "chapter-why": "12_why_it_works"}


def link_faults(shown_in: str, root: Path = PROJECT_ROOT) -> list[str]:
    """What a reader would not find: a chapter's label (or file), or a section in it."""
    label, _, section = shown_in.partition("#")
    page = page_of(label, root)
    if page is None:
        planned = label in PLANNED and not (root / "notebooks" / f"{PLANNED[label]}.ipynb").is_file()
        return [] if planned else [f"shown in {label}: no page has this label"]
    if section and section not in headings(page):
        return [f"shown in {label}: no section {section!r}{nearest(section, headings(page))}"]
    return []


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


# --- words -------------------------------------------------------------------------------------------------------


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
    sign = "+" if m.against and v.mean > 0 else ""
    if v.n == EXACT:
        return f"{spell(v.mean)}{unit} (exact)"
    if v.low is None or v.high is None:
        return f"{sign}{spell(v.mean)}{unit} (n\u00a0=\u00a0{v.n}, no interval)"
    half = (v.high - v.low) / 2
    low, high = (("+" if m.against and x > 0 else "") + spell(x, half) for x in (v.low, v.high))
    return f"{sign}{spell(v.mean, half)}{unit} (95\u00a0% interval {low} to {high}, n\u00a0=\u00a0{v.n})"


def card(claim: Claim, root: Path = PROJECT_ROOT) -> str:
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
        f"<details><summary>Check it</summary><p><code>{html.escape(claim.test)}</code></p>{_rule_html(claim.rule)}</details>",
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
    from ternary_lib.figures import COLOURS

    colour = {"confirmed": COLOURS["argmax"], "partly": COLOURS["expectation"], "refuted": COLOURS["b"]}.get(verdict, COLOURS["uniform"])
    line = "dotted" if verdict == "pending" else "dashed" if verdict == "not testable" else "solid"
    return f"border-left:5px {line} {colour};padding:.1em 0 .1em .9em;margin:1.2em 0;overflow-wrap:anywhere"


def link(label: str, words: str = "", root: Path = PROJECT_ROOT) -> str:
    """A role that leads from a chapter to the page of a label or file name; where it is not written yet, the words alone."""
    page = page_of(label, root)
    if page is None:
        return words
    words = words or headings(page)[0]
    if page.stem != label:
        return f"{{ref}}`{words} <{label}>`"
    return f"{{doc}}`{words} <{label if page.suffix == '.ipynb' else f'../{label}'}>`"


def _shown(shown_in: str, root: Path) -> str:
    label, _, section = shown_in.partition("#")
    role = link(label, root=root)
    return f"Shown in {role}" + (f", *{section}*." if section else ".") if role else ""


def _rule_html(rule: Rule | None) -> str:
    if rule is None:
        return ""
    parts = [f"{verdict} if <code>{html.escape(text)}</code>" for verdict, text in conditions(rule).items()]
    return f"<p>Rule: {'; '.join(parts)}; otherwise {rule.otherwise}.</p>"


def show_cards(claims: Iterable[Claim], topic: str) -> None:
    """Display every entry of a topic, in a notebook."""
    from IPython.display import Markdown, display

    display(Markdown("\n\n".join(card(claim) for claim in claims if claim.topic == topic)))


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


# --- the command -------------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """Arguments of ``python -m ternary_lib.claims``."""
    known = argparse.ArgumentParser(prog="python -m ternary_lib.claims", description="The claims ledger: show, check, update.")
    known.add_argument("entries", nargs="*", metavar="ID", help="entries to measure now and show; none: a count of the verdicts")
    known.add_argument("--check", action="store_true", help="name every fault; exit status 1 if there is one")
    known.add_argument("--update", action="store_true", help="write every number and verdict anew")
    return known


def main(arguments: Sequence[str] | None = None) -> int:
    """0 done, 1 the ledger has faults, 2 bad input."""
    args = parser().parse_args(arguments)
    try:
        claims = load()
        if args.update:
            claims = update(claims)
            write_atomically(ledger_path(), dump(claims).encode())
        if args.update or args.check:
            faults = check(claims)
            print("\n".join(faults) if faults else f"{len(claims)} entries, no fault", file=sys.stderr if faults else sys.stdout)
            if faults:
                return 1
        return _show(claims, args.entries)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _show(claims: Sequence[Claim], entries: Sequence[str]) -> int:
    known = {claim.id: claim for claim in claims}
    for name in entries:
        if name not in known:
            raise ConfigError(f"{name}: no entry of the ledger{nearest(name, list(known))}")
    if entries:
        print("\n\n".join(describe(claim) for claim in update(known[name] for name in entries)))
    else:
        counted = Counter(claim.verdict for claim in claims)
        print(", ".join(f"{counted[verdict]} {verdict}" for verdict in MARKS if counted[verdict]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
