"""Every fault of the claims ledger: numbers its records do not give, verdicts its rules do not give, what a reader would not find."""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import math
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ternary_lib.computed_facts import FACTS
from ternary_lib.config import PROJECT_ROOT, ConfigError
from ternary_lib.ledger import TOPICS, Claim, Measurement, Store, Value, decide, experiments, measure, possible
from ternary_lib.ledger_words import headings, page_of
from ternary_lib.quantities import OF_RECORD
from ternary_lib.strict_yaml import nearest, one_line


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
    return [*faults, *command_faults(claim.test, root), *(fault for place in claim.shown_in for fault in link_faults(place, root))]


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
            from ternary_lib.claims import parser

            faults += _argument_faults(parser(), words[2:], part)
        elif program == "ternary":
            from ternary_lib.cli import build_parser

            faults += _argument_faults(build_parser(), words, part)
        elif program == "make":
            targets = re.findall(r"^([\w-]+):", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
            faults += [f"test: the Makefile has no {word}" for word in words if word not in targets]
        elif program != "pytest":
            faults.append(f"test: {program!r} is none of this project's commands")
        faults += [fault for word in words if "/" in word or "::" in word for fault in _file_faults(word, root)]
        if program == "ternary" and words[:1] == ["notebook"]:
            faults += [] if page_of(words[1], root) else [f"test: no notebook {words[1]}"]
        if program == "ternary" and words[:1] == ["sweep"] and not faults:
            faults += _variant_faults(words)
    return faults


def _argument_faults(known: argparse.ArgumentParser, words: list[str], part: str) -> list[str]:
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
    known = experiments(Path(words[1]).stem)
    named = words[words.index("--only") + 1 :] if "--only" in words else []
    return [f"test: no variant {name}" for name in named if not name.startswith("-") and name not in known]


def link_faults(place: str, root: Path = PROJECT_ROOT) -> list[str]:
    """What a reader would not find: a chapter's label (or file), or a section in it."""
    label, _, section = place.partition("#")
    page = page_of(label, root)
    if page is None:
        return [f"shown in {label}: no page has this label"]
    if section and section not in headings(page):
        return [f"shown in {label}: no section {section!r}{nearest(section, headings(page))}"]
    return []
