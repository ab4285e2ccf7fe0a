"""What was done to break the project, from its records, as the tables of the page on reliability."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ternary_lib import records

NOT_MEASURED = "*No record of this in the checkout that the book was built from; {command} makes it.*\n"


def tables(folder: Path) -> dict[str, str]:
    """``kills``, ``mistakes``, ``files``, ``machines``, ``packages``, ``tests`` and ``survivors`` as Markdown, from a folder's records."""
    names = ("reliability", "mistakes", "fuzz", "machines", "dependencies", "noticed")
    kills, mistakes, fuzz, machines, packages, noticed = (_read(folder, name) for name in names)
    reached, mutants = noticed.get("coverage", {}), noticed.get("mutants", {})
    return {
        "kills": _kills(kills) if kills else NOT_MEASURED.format(command="`make reliability`"),
        "mistakes": _mistakes(mistakes) if mistakes else NOT_MEASURED.format(command="`make reliability`"),
        "files": _files(fuzz) if fuzz else NOT_MEASURED.format(command="`make reliability`"),
        "machines": _machines(machines) if machines else NOT_MEASURED.format(command="`python -m benchmarks.machines`"),
        "packages": _packages(packages) if packages else NOT_MEASURED.format(command="`make reliability`"),
        "tests": _reached(reached) + _killed(mutants) if reached and mutants else NOT_MEASURED.format(command="`make coverage mutants`"),
        "survivors": _survivors(mutants["survivors"]) if mutants else NOT_MEASURED.format(command="`make mutants`"),
    }


def _kills(record: dict[str, Any]) -> str:
    works = {name: part for name, part in record.items() if isinstance(part, dict) and "trials" in part}
    ends = [
        (name, p["trials"], p["same"], p["half_written"], p["something_kept"], p["kept"], p["redone"], f"{p['seconds_alone']:.0f}")
        for name, p in works.items()
    ]
    hits = [
        (name, p["kills"], *(p["struck"][where] or "—" for where in ("time", "main", "worker")), p["missed"]) for name, p in works.items()
    ]
    ended = ("work", "trials", "ended the same", "files half-written", "with finished parts", "such parts", "made again", "seconds alone")
    hit = ("work", "kills", "at any time", "as it wrote", "as a process it had started wrote", "too late, drawn again")
    return _table(ended, ends) + "\n" + _table(hit, hits) + _made(record)


def _mistakes(record: dict[str, Any]) -> str:
    rows = [(kind, p["made"], p["answered"], p["meant"] or "—") for kind, p in record["kinds"].items()]
    total = ("**all**", *(sum(part[name] for part in record["kinds"].values()) for name in ("made", "answered", "meant")))
    heading = ("where", "mistakes", "one line, status 2, that names it and what was expected, nothing left", "and what was meant")
    return _table(heading, [*rows, total]) + _made(record)


def _files(record: dict[str, Any]) -> str:
    rows = [
        (kind, p["inputs"], p["refused"], p["read"], p["other"], f"{p['slowest_s']:.2f}")
        for kind, p in record["loaders"].items()
    ]
    total = ("**all**", *(sum(row[k] for row in rows) for k in range(1, 5)), f"{max(float(row[5]) for row in rows):.2f}")
    heading = ("kind of file", "inputs", "refused in one line", "read", "anything else", "slowest, s")
    return _table(heading, [*rows, total]) + _made(record)


def _machines(record: dict[str, Any]) -> str:
    rows = []
    for python, found in sorted(record["pythons"].items()):
        job, tests = found["main_job"], found.get("tests", {})
        worked = f"yes, in {job['seconds']:.0f} s" if job["status"] == 0 and job["left"] == ["run"] else "no"
        same = "the same" if job.get("evaluates_to_the_same") else "others"
        counts = [tests.get(kind, 0) if tests else "—" for kind in ("passed", "failed", "skipped")]
        rows.append((python.partition(",")[0], job.get("versions", {}).get("torch", "—"), worked, same, *counts))
    heading = ("Python", "PyTorch", "the wheel trains elsewhere", "`evaluate` gives", "tests passed", "failed", "skipped")
    failures = [
        f"- Python {python}: `{line.split()[1].partition('@')[0]}` failed."
        for python, found in sorted(record["pythons"].items())
        for line in found.get("tests", {}).get("failures", [])
    ]
    listed = "\n" + "\n".join(failures) + "\n" if failures else ""
    return _table(heading, rows) + listed + _made(next(iter(record["pythons"].values()))) + "\n"


def _packages(record: dict[str, Any]) -> str:
    families = Counter(package["family"] for package in record["packages"])
    audit = record["audit"]
    asked = f"{len(audit['vulnerabilities'])} known, of {audit['packages']} packages asked about" if audit["asked"] else audit["why"]
    rows = [(family, count) for family, count in families.most_common()]
    return _table(("licence", "packages"), [*rows, ("**all**", sum(families.values()))]) + f"\nKnown vulnerabilities: {asked}.\n"


def _reached(record: dict[str, Any]) -> str:
    rows = [(what, of["all"], of["reached"], f"{of['reached'] / of['all']:.1%}") for what, of in record["parts"].items()]
    return _table(("of `ternary_lib`", "all", "reached by a test", "share"), rows) + _made(record) + "\n"


def _killed(record: dict[str, Any]) -> str:
    rows = [(f"`{module}`", of["all"], of["killed"], f"{of['killed'] / of['all']:.1%}") for module, of in record["modules"].items()]
    return _table(("module", "changed lines", "noticed by a test", "share"), rows) + _made(record)


def _survivors(listed: Sequence[dict[str, Any]]) -> str:
    lines = [f"- `{m['where']}`: `{m['before']}` became `{m['after']}`. {m['reason']}" for m in listed]
    return "\n".join(lines or ["*None survived.*"]) + "\n"


def _made(record: dict[str, Any]) -> str:
    return f"\n*Measured {record['started'][:10]} on {record['hardware']['cores']} cores.*\n"


def _table(heading: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    def line(cells: Iterable[Any]) -> str:
        return "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells) + " |\n"

    return line(heading) + line("---" for _ in heading) + "".join(map(line, rows))


def _read(folder: Path, name: str) -> dict[str, Any]:
    path = folder / f"{name}.json"
    return records.read_json(path) if path.is_file() else {}
