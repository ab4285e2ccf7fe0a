"""The claims ledger: every checkable statement of the sources, how it was tested, what was measured, and the verdict.

``results/claims.yaml`` holds words and rules. Its numbers are recomputed from the records and definitions that each entry names
(``quantities``, ``facts``, ``computed_facts``), and its verdicts follow from its rules. ``ledger_check`` finds its faults,
``ledger_words`` shows its entries, ``python -m ternary_lib.claims`` is the command.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from ternary_lib import records, sweeps
from ternary_lib.comparison import METRICS, summary
from ternary_lib.computed_facts import FACTS, OF_RELEASED
from ternary_lib.config import ConfigError, describe_fault, load_config
from ternary_lib.quantities import OF_RECORD
from ternary_lib.report import minus
from ternary_lib.sections import Section
from ternary_lib.strict_yaml import one_line, parse_yaml

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
    shown_in: Annotated[list[Annotated[str, Field(pattern=r"^[a-z0-9_-]+(#.+)?$")]], Field(min_length=1)]

    def said(self) -> str:
        """The reason for the verdict, its numbers filled in."""
        if self.verdict == "pending":
            read = names_read(self.rule) if self.rule else set()
            seeds = [(m.value.n if m.value else 0, needed(m)) for m in self.measured if m.name in read and m.records]
            have, want = min(seeds, key=lambda pair: pair[0] / pair[1])
            waiting = f"The runs that decide this are not all recorded in this checkout ({have} of {want} seeds)"
            return f"{waiting}; with them the verdict follows from the rule."
        text = self.reason if isinstance(self.reason, str) else self.reason.get(self.verdict, "")
        numbers = {m.name: _numbers(m.value) for m in self.measured if m.value}
        return minus(re.sub(r"[-+](0\.0+)(?!\.?\d)", r"\1", text.format_map(numbers)))


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
        entry = data["claims"][where[1]] if len(where) > 1 and isinstance(where[1], int) else None
        known = str(entry["id"])[:80] if isinstance(entry, dict) and "id" in entry else "the ledger"
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
    """The committed records, each read once."""

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root) if root else records.results_dir()
        self._found: dict[str, dict[int, dict[str, Any]]] = {}

    def of(self, name: str) -> dict[int, dict[str, Any]]:
        """The records of ``sweeps/<sweep>/<variant>`` or ``runs/<record>``, by seed."""
        if name not in self._found:
            kind, *rest = name.split("/")
            if kind == "sweeps":
                found = sweeps.recorded(experiments(rest[0])[rest[1]], self.root / "sweeps")
            else:
                found = [records.read_run(self.root / "runs" / f"{rest[0]}.json")]
                if not records.same_config(found[0], load_config(f"configs/{found[0]['name']}.yaml")):
                    raise ConfigError(f"{rest[0]}: the record is of another configuration than configs/{found[0]['name']}.yaml")
            self._found[name] = {record["seed"]: record for record in found}
        return self._found[name]


@lru_cache(maxsize=8)
def experiments(sweep: str) -> dict[str, list[sweeps.Task]]:
    """The runs that a sweep file asks for, by variant; of the sweep ``original``, the public code's own."""
    found: dict[str, list[sweeps.Task]] = {}
    for task in sweeps.originals() if sweep == "original" else sweeps.load_sweep(f"configs/sweeps/{sweep}.yaml"):
        found.setdefault(task.variant, []).append(task)
    return found


def _beside(m: Measurement) -> str | None:
    """The records that a measurement is compared with, by their full name."""
    if m.against is None or "/" in m.against:
        return m.against
    return f"{(m.records or '').rpartition('/')[0]}/{m.against}"


def measure(m: Measurement, store: Store) -> Value:
    """The measurement's value now; ``n = 0`` where nothing is recorded yet."""
    if m.records is None:
        return Value(n=1 if m.quantity in OF_RELEASED else EXACT, mean=_rounded(_fact(m.quantity, json.dumps(m.given))))
    found = by_seed(m, store)
    counted = m.against is not None and m.quantity == "metric" and found
    step = METRICS[m.given["name"]].step(store.of(m.records)[next(iter(found))]) if counted else 0.0
    return over_seeds(list(found.values()), step)


def by_seed(m: Measurement, store: Store) -> dict[int, float]:
    """The measurement in each recorded seed, or in each that both sides have; empty for a fact."""
    if m.records is None:
        return {}
    quantity = OF_RECORD[m.quantity]
    ours = {seed: quantity(record, **m.given) for seed, record in sorted(store.of(m.records).items())}
    if m.against is None:
        return ours
    theirs = {seed: quantity(record, **m.given) for seed, record in store.of(_beside(m) or "").items()}
    return {seed: value - theirs[seed] for seed, value in ours.items() if seed in theirs}


@lru_cache(maxsize=512)
def _fact(quantity: str, given: str) -> float:
    # No run changes a fact, and some take a second: each is computed once.
    return FACTS[quantity](**json.loads(given))


def over_seeds(values: Sequence[float], least_sd: float = 0.0) -> Value:
    """Mean, sd, taken as no less than ``least_sd``, 95 % interval and range; no interval of one value, nothing of none.

    >>> over_seeds([1.0, 2.0, 3.0]).high
    4.48414
    """
    if not values:
        return Value(n=0)
    found = summary(values, least_sd)._asdict() | {"least": min(values), "most": max(values)}
    return Value(n=found.pop("n"), **{k: None if math.isnan(v) else _rounded(v) for k, v in found.items()})


def _rounded(value: float) -> float:
    return float(f"{float(value):.{DIGITS}g}")


def needed(m: Measurement) -> int:
    """Seeds that a verdict waits for: all that the sweep file asks for (of pairs, those that both sides have)."""
    if m.records is None or m.records.startswith("runs/"):
        return 0
    sides = [name.split("/")[1:] for name in (m.records, _beside(m)) if name]
    return min(len(experiments(sweep)[variant]) for sweep, variant in sides)


def _numbers(value: Value) -> SimpleNamespace:
    found = value.model_dump()
    if value.n == EXACT:
        found |= dict.fromkeys(("low", "high", "least", "most"), value.mean) | {"sd": 0.0}
    elif value.mean is not None and value.high is not None:
        # One more run of ours lies here in 95 of 100 cases: mean ± t·sd·√(1 + 1/n), where the mean's interval is ± t·sd·√(1/n).
        half = (value.high - value.mean) * math.sqrt(value.n + 1)
        found |= {"next_low": value.mean - half, "next_high": value.mean + half}
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


def _of_one_run(m: Measurement) -> bool:
    return m.quantity in OF_RELEASED if m.records is None else m.records.startswith("runs/")


def decide(claim: Claim) -> Verdict:
    """The verdict that the rule gives for the entry's numbers; ``pending`` while one it reads has too few seeds."""
    if claim.rule is None:
        return "not testable"
    by_name, found, read = {m.name: m for m in claim.measured}, conditions(claim.rule), names_read(claim.rule)
    if unknown := sorted(read - by_name.keys()):
        raise ConfigError(f"rule reads {', '.join(unknown)}, which is not measured")
    values = {name: by_name[name].value or Value(n=0) for name in read}
    if lone := sorted(name for name in read if _of_one_run(by_name[name])):
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
    """The claims with every value measured now and every verdict as its rule gives it.

    Raises:
        ConfigError: an entry names a quantity, an argument or records that there are not; one line.
    """
    store, done = store or Store(), []
    for claim in claims:
        measured = []
        for m in claim.measured:
            try:
                measured.append(m.model_copy(update={"value": measure(m, store)}))
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise ConfigError(f"{claim.id}: {m.name} cannot be measured: {type(error).__name__}: {one_line(error)}") from None
        claim = claim.model_copy(update={"measured": measured})
        done.append(claim.model_copy(update={"verdict": decide(claim)}))
    return done
