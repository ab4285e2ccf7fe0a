"""The claims ledger's command, ``python -m ternary_lib.claims``.

It shows entries; ``--check`` finds every fault, ``--update`` writes numbers and verdicts anew.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence

from ternary_lib.config import ConfigError
from ternary_lib.files import write_atomically
from ternary_lib.ledger import MARKS, Claim, dump, ledger_path, load, update
from ternary_lib.ledger_check import check
from ternary_lib.ledger_words import describe
from ternary_lib.strict_yaml import nearest, print_error


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
        print_error(error)
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
