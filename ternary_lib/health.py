"""What goes wrong in a run without stopping it, read from its history: collapsed pathways, gradients that vanish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

PATHWAYS = ("a", "b")
COLLAPSED_RATE = 0.1  # nats: below it a code says next to nothing of which of the 19,683 operations (9.89 nats) it came from
VANISHED_NORM = 1e-6  # of an epoch's mean gradient; a healthy one is between 0.1 and 100


def warnings(history: Mapping[str, Sequence[float]]) -> list[str]:
    """One line for every pathway that collapsed and every gradient that vanished, with the measured epochs it was so in.

    A pathway has collapsed where its rate, KL(q(z|x) ‖ N(0, I)) in nats over all operations, is below 0.1 (Lucas et al. 2019).
    One that has yet to learn has not: the epochs before its rate first reaches 0.1 count only where it never does.

    Example:
        >>> warnings({"epoch": [0, 1, 2], "a.rate": [5.0, 0.04, 0.02]})
        ['pathway A collapsed: its rate is 0.02 nats in epoch 2 (below 0.1 in epochs 1 to 2)']
    """
    found = []
    for name in PATHWAYS:
        for column, bound, words, grows in (
            (f"{name}.rate", COLLAPSED_RATE, "collapsed: its rate is {:.2g} nats", True),
            (f"train.grad_norm_{name}", VANISHED_NORM, "gets no gradient: its mean norm is {:.2g}", False),
        ):
            values = history.get(column, ())
            low = [i for i, value in enumerate(values) if value < bound]
            if grows:
                grown = next((i for i, value in enumerate(values) if value >= bound), -1)
                low = [i for i in low if i > grown]
            if low:
                epochs = [history["epoch"][i] for i in low]
                when = f"in epoch {epochs[-1]} (below {bound:g} in {_spans(epochs, low)})"
                found.append(f"pathway {name.upper()} {words.format(values[low[-1]])} {when}")
    return found


def _spans(epochs: Sequence[int], rows: Sequence[int]) -> str:
    # Rows of the history that follow each other make one span, however far apart their epochs are.
    starts = [i for i, row in enumerate(rows) if i == 0 or row != rows[i - 1] + 1]
    ends = [*(i - 1 for i in starts[1:]), len(rows) - 1]
    spans = [(epochs[a], epochs[b]) for a, b in zip(starts, ends, strict=True)]
    shown = [f"{a} to {b}" if a < b else f"{a}" for a, b in spans[:3]]
    plural = "epochs" if len(spans) > 1 or spans[0][0] < spans[0][1] else "epoch"
    return f"{plural} {', '.join(shown)}" + (f" and {len(spans) - 3} spans more" if len(spans) > 3 else "")
