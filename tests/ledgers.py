"""A small ledger without a fault, ways to break it, and records made up for it."""

from ternary_lib.ledger import Claim, Measurement, Rule, Value

EVERY = 10


def thinned(record):
    """The record as a run measured every tenth epoch has it."""
    rows = [i for i, epoch in enumerate(record["history"]["epoch"]) if (epoch + 1) % EVERY == 0]
    return record | {"history": {name: [column[i] for i in rows] for name, column in record["history"].items()}}


# A fact and a run; nothing of it is wrong.
SOUND = [
    Claim(
        id="nine-bit", topic="architecture", source=[{"document": "README", "section": "Overview"}],
        claim="A table is nine bits long, it is said.", test="pytest tests/test_model.py::test_parameter_counts",
        rule=Rule(confirmed="bits.mean == 9", otherwise="refuted"),
        measured=[
            Measurement(name="bits", label="bits of a table", quantity="bits_of_a_table", value=Value(n="exact", mean=14.2647)),
            Measurement(
                name="one", label="epochs", quantity="epochs_trained", records="runs/ternary_v5_5_seed42",
                value=Value(n=1, mean=400.0, least=400.0, most=400.0),
            ),
        ],
        verdict="refuted", reason={"refuted": "They are {bits.mean:.1f}.", "confirmed": "They are."},
        shown_in=["chapter-theory#One table by hand"],
    )
]  # fmt: skip


def changed(entries, **changes):
    return [entries[0].model_copy(update=changes)]


def with_value(entries, index, value):
    measured = list(entries[0].measured)
    measured[index] = measured[index].model_copy(update={"value": value})
    return changed(entries, measured=measured)


def with_measurement(entries, **changes):
    return changed(entries, measured=[entries[0].measured[0].model_copy(update=changes), entries[0].measured[1]])
