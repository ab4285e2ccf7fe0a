"""The ledger's paired differences taken together: how many are clear once their number is corrected for, and what rests on the others.

Verdicts are read from 95 % intervals, each on its own. Holm's correction here is over every difference between variants in the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ternary_lib.comparison import holm, p_value
from ternary_lib.config import ConfigError
from ternary_lib.ledger import Claim, Measurement, Value, decide

LEVEL = 0.05


def paired_numbers(claims: Iterable[Claim]) -> dict[str, Value]:
    """Every paired difference that has an interval, by what was measured: the same one in two entries counts once."""
    return {_key(m): m.value for claim in claims for m in claim.measured if m.against and m.value and m.value.low is not None}


def _key(m: Measurement) -> str:
    return m.model_dump_json(exclude={"name", "label", "unit", "value"})


def clear(value: Value) -> bool:
    """Whether the difference's own 95 % interval leaves zero out."""
    return value.low > 0 or value.high < 0


def corrected(found: dict[str, Value]) -> dict[str, float]:
    """p of each difference's paired t test, from n, mean and sd, by Holm's correction over all of them."""
    return dict(zip(found, holm([p_value(v.n, v.mean, v.sd) for v in found.values()]), strict=True))


def resting_on_unclear(claims: Sequence[Claim]) -> list[str]:
    """Entries whose verdict would be another if what is clear by itself, and not after the correction, were not clear."""
    return [claim.id for claim, other in _without(claims) if claim.verdict != "pending" and other != claim.verdict]


def _without(claims: Sequence[Claim]) -> Iterator[tuple[Claim, str]]:
    found = paired_numbers(claims)
    p = corrected(found)
    unclear = {key for key, value in found.items() if clear(value) and p[key] >= LEVEL}
    for claim in claims:
        measured = [m.model_copy(update={"value": _to_zero(m.value)}) if _key(m) in unclear else m for m in claim.measured]
        try:
            yield claim, decide(claim.model_copy(update={"measured": measured}))
        except ConfigError:  # a rule that cannot tell any more tells nothing
            yield claim, "not testable"


def _to_zero(value: Value) -> Value:
    return value.model_copy(update={"low": min(value.low, 0.0), "high": max(value.high, 0.0)})
