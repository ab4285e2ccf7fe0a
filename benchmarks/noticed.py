"""What the tests would notice: the lines and branches they reach, and the changed lines at which one fails.

    make coverage
    make mutants

Both call this module, which writes ``results/noticed.json``. The reasons why a surviving change is no loss are written by hand in
``tests/mutants.yaml``; a survivor without one, and a reason without its survivor, is an error.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ternary_lib import records
from ternary_lib.config import PROJECT_ROOT

REASONS = PROJECT_ROOT / "tests" / "mutants.yaml"
REACHED, KILLED = 0.95, 0.9  # the least shares: of lines and of branches, of mutants
FELL = (1, 3, 24, 36, 152, -24)  # a test failed, pytest stopped at an error in it, or the time that the tests may take was over
NAME = re.compile(r"# ternary_lib\.(\w+)\.x(?:ǁ(\w+)ǁ|_)(\w+)__mutmut_\d+")


class Mutant(NamedTuple):
    """A change: where, the lines that went and the lines that came, stripped and joined by ``⏎``."""

    where: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.where}: {self.before} → {self.after}"


def read_diff(text: str) -> Mutant:
    """A mutant from what ``mutmut show`` prints.

    >>> print(read_diff("# ternary_lib.losses.xǁBalanceǁ_step__mutmut_1: survived\\n--- a\\n+++ b\\n@@ -1 +1 @@\\n-    x = 1\\n+    x = 2"))
    losses.Balance._step: x = 1 → x = 2
    """
    heading, *lines = text.splitlines()
    found = NAME.match(heading)
    if found is None:
        raise ValueError(f"{heading!r}: expected a mutant of ternary_lib")
    removed, added = (" ⏎ ".join(line[1:].strip() for line in lines if re.match(rf"\{sign}(?!\{sign})", line)) for sign in "-+")
    return Mutant(".".join(part for part in found.groups() if part), removed, added)


def read_reasons() -> dict[Mutant, str]:
    """The reasons, by mutant."""
    found = yaml.safe_load(REASONS.read_text(encoding="utf-8")) or []
    return {Mutant(entry["where"], entry["before"], entry["after"]): entry["reason"] for entry in found}


def reached(report: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Lines and branches, all and reached, from coverage's JSON report."""
    totals = report["totals"]
    return {
        "lines": {"all": totals["num_statements"], "reached": totals["covered_lines"]},
        "branches": {"all": totals["num_branches"], "reached": totals["covered_branches"]},
    }


def killed(codes: Mapping[str, Mapping[str, int | None]]) -> dict[str, dict[str, int]]:
    """Mutants made and killed by module; ``codes`` are pytest's exit codes by module and mutant.

    >>> killed({"losses": {"a": 1, "b": 0, "c": 1}})
    {'losses': {'all': 3, 'killed': 2}}
    """
    return {module: {"all": len(of), "killed": sum(code in FELL for code in of.values())} for module, of in codes.items()}


def shortfalls(parts: Mapping[str, Mapping[str, int]], what: str, least: float) -> list[str]:
    """The parts of which too little is reached or killed, a line each.

    >>> shortfalls({"lines": {"all": 10, "reached": 9}, "branches": {"all": 10, "reached": 10}}, "reached", 0.95)
    ['lines: 9 of 10 reached, fewer than 95%']
    """
    return [
        f"{name}: {of[what]} of {of['all']} {what}, fewer than {least:.0%}" for name, of in parts.items() if of[what] < least * of["all"]
    ]


def unexplained(survivors: Iterable[Mutant], reasons: Mapping[Mutant, str]) -> list[str]:
    """Survivors without a reason and reasons without their survivor, a line each."""
    survivors = set(survivors)
    lines = [f"{mutant}: no test notices, and {REASONS.name} gives no reason" for mutant in sorted(survivors - set(reasons))]
    return lines + [f"{mutant}: has a reason in {REASONS.name} and does not survive" for mutant in sorted(set(reasons) - survivors)]


def collect(folder: Path) -> tuple[dict[str, dict[str, int | None]], list[Mutant]]:
    """What ``mutmut run`` left in a folder: the exit codes by module, and the mutants that survived."""
    codes: dict[str, dict[str, int | None]] = {}
    for path in sorted((folder / "ternary_lib").glob("*.py.meta")):
        of = json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
        if None in of.values():
            raise SystemExit(f"error: {path}: not every mutant has been tried; run mutmut to its end")
        if of:
            codes[path.name.removesuffix(".py.meta")] = of
    names = [name for of in codes.values() for name, code in of.items() if code not in FELL]
    return codes, [read_diff(_mutmut("show", name)) for name in names]


def main(arguments: list[str] | None = None) -> int:
    """Collect, write, and say what is wrong; status 1 where something is."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.noticed", description=__doc__.splitlines()[0])
    parser.add_argument("--coverage", type=Path, metavar="FILE", help="coverage's JSON report")
    parser.add_argument("--mutants", type=Path, metavar="DIR", help="what mutmut left")
    parser.add_argument("--output", type=Path, default=records.results_dir() / "noticed.json", metavar="FILE", help="the record to write")
    given = parser.parse_args(arguments)
    record = records.read_json(given.output) if given.output.is_file() else {}
    wrong = []
    if given.coverage:
        parts = reached(records.read_json(given.coverage))
        record["coverage"] = {**records.provenance(), "parts": parts}
        wrong += shortfalls(parts, "reached", REACHED)
    if given.mutants:
        codes, survivors = collect(given.mutants)
        modules, reasons = killed(codes), read_reasons()
        listed = [{**mutant._asdict(), "reason": reasons.get(mutant)} for mutant in sorted(survivors)]
        record["mutants"] = {**records.provenance(), "modules": modules, "survivors": listed}
        wrong += shortfalls(modules, "killed", KILLED) + unexplained(survivors, reasons)
    records.write_json(given.output, record)
    print("\n".join(wrong), file=sys.stderr, end="\n" if wrong else "")
    return int(bool(wrong))


def _mutmut(*arguments: str) -> str:
    command = [str(Path(sys.executable).with_name("mutmut")), *arguments]
    return subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main())
