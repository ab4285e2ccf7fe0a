"""What was done to break the project, from its records, in the form that the page on reliability reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ternary_lib import records


def figures(folder: Path) -> dict[str, dict[str, Any]]:
    """What the page on reliability says, from the records of kills, damaged files, dependencies and tests that there are in a folder."""
    kills, fuzz, packages, noticed = (_read(folder, name) for name in ("reliability", "fuzz", "dependencies", "noticed"))
    works = {name: part for name, part in kills.items() if isinstance(part, dict) and "trials" in part}
    found: dict[str, dict[str, Any]] = {
        "reliability": {name: {key: value for key, value in part.items() if key != "each"} for name, part in works.items()},
        "fuzz": {kind: part | {"faults": len(part["faults"])} for kind, part in fuzz.get("loaders", {}).items()},
        "dependencies": {},
    }
    if packages:
        families = [package["family"] for package in packages["packages"]]
        audit = packages["audit"]
        asked = audit["asked"]
        known = f"{len(audit['vulnerabilities'])}, of {audit['packages']} packages asked about" if asked else f"not known: {audit['why']}"
        found["dependencies"] = {
            "packages": len(families), "permissive": families.count("permissive"), "weak": families.count("weak copyleft"),
            "mixed": families.count("mixed"), "audit": known,
        }  # fmt: skip
    found["coverage"] = {what: of["reached"] / of["all"] for what, of in noticed.get("coverage", {}).get("parts", {}).items()}
    modules = noticed.get("mutants", {}).get("modules", {})
    found["mutants"] = {module: of | {"share": of["killed"] / of["all"]} for module, of in modules.items()}
    return found


def survivors_page(folder: Path) -> str:
    """The changes that no test notices, each with its reason, as a Markdown list; a sentence where there are none."""
    listed = _read(folder, "noticed").get("mutants", {}).get("survivors", [])
    lines = [f"- `{m['where']}`: `{m['before']}` became `{m['after']}`. {m['reason']}" for m in listed]
    return "\n".join(lines or ["*None is listed in this checkout.*"]) + "\n"


def _read(folder: Path, name: str) -> dict[str, Any]:
    path = folder / f"{name}.json"
    return records.read_json(path) if path.is_file() else {}
