"""What the project stands on: every locked package with its licence, and what is known against it, where pip-audit can ask.

    python -m benchmarks.dependencies
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

from ternary_lib import records
from ternary_lib.config import PROJECT_ROOT

LOCK = PROJECT_ROOT / "requirements.lock"
# Families by the words of a licence's name; the first that fits counts.
FAMILIES = {
    "strong copyleft": r"\bA?GPL(?!.*exception)|GNU General Public|Affero",
    "weak copyleft": r"LGPL|Lesser General Public|MPL|Mozilla",
    "permissive": r"MIT|BSD|Apache|ISC|PSF|Python Software Foundation|Unlicense|Zlib|HPND|CC0|0BSD|public domain|Artistic",
}


def locked(text: str) -> dict[str, str]:
    """The lock's packages and versions.

    >>> locked("# comment\\nnumpy==2.4.6\\n")
    {'numpy': '2.4.6'}
    """
    return dict(line.split("==", 1) for line in text.splitlines() if "==" in line and not line.startswith("#"))


def licence(name: str) -> str | None:
    """What an installed package says its licence is; None where it is not installed."""
    try:
        found = metadata(name)
    except PackageNotFoundError:
        return None
    classified = [c.rsplit(" :: ", 1)[-1] for c in found.get_all("Classifier") or [] if c.startswith("License ::") and c.count("::") > 1]
    stated = found.get("License-Expression") or (found.get("License") or "").strip().partition("\n")[0][:60]
    return found.get("License-Expression") or ", ".join(classified) or stated or "not stated"


def family(text: str) -> str:
    """A licence's family.

    >>> family("BSD-3-Clause"), family("LGPL-3.0-or-later"), family("GPL-2.0-only")
    ('permissive', 'weak copyleft', 'strong copyleft')
    """
    fitting = [name for name, words in FAMILIES.items() if re.search(words, text, re.IGNORECASE)]
    if "permissive" in fitting and " OR " in text:  # the taker chooses
        return "permissive"
    if len(fitting) > 1 and ", " in text:  # several of the classifiers, for several parts
        return "mixed"
    return fitting[0] if fitting else "unclear"


def audit(python: str = sys.executable) -> dict[str, Any]:
    """What pip-audit says of the lock: how many packages it could ask about, and what is known against them."""
    command = [python, "-m", "pip_audit", "-r", str(LOCK), "--no-deps", "--disable-pip", "-f", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        parts = json.loads(done.stdout)["dependencies"]
    except (OSError, ValueError, KeyError, subprocess.TimeoutExpired):
        return {"asked": False, "why": "pip-audit is not installed, or could not reach its service"}
    known = [part for part in parts if "vulns" in part]
    found = [{"package": part["name"], "id": one["id"], "fixed_in": one["fix_versions"]} for part in known for one in part["vulns"]]
    if not known:
        return {"asked": False, "why": "the service that pip-audit asks does not answer from here"}
    return {"asked": True, "packages": len(known), "skipped": len(parts) - len(known), "vulnerabilities": found}


def main(arguments: list[str] | None = None) -> int:
    """Write the list; status 1 where something is known against a package."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dependencies", description=__doc__.splitlines()[0])
    default = records.results_dir() / "dependencies.json"
    parser.add_argument("--output", type=Path, default=default, metavar="FILE", help="the JSON record to write")
    words = "an interpreter that has pip-audit (default: this one)"
    parser.add_argument("--audit-with", default=sys.executable, metavar="PYTHON", help=words)
    given = parser.parse_args(arguments)
    if not given.output.parent.is_dir() or given.output.is_dir():
        parser.error("expected an --output in a directory that exists")
    packages = []
    for name, version in locked(LOCK.read_text(encoding="utf-8")).items():
        text = licence(name)
        packages.append({"name": name, "version": version, "licence": text, "family": family(text) if text else "not installed here"})
    audited = audit(given.audit_with)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    found = {"started": started, "library_commit": records.library_commit(), "audit": audited, "packages": packages}
    records.write_json(given.output, found)
    counts = {name: sum(p["family"] == name for p in packages) for name in sorted({p["family"] for p in packages})}
    print(f"{len(packages)} packages: " + ", ".join(f"{n} {name}" for name, n in counts.items()))
    print(f"audit: {audited}")
    return int(bool(audited.get("vulnerabilities")))


if __name__ == "__main__":
    sys.exit(main())
