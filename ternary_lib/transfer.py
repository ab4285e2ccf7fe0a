"""Transfer: a network fine-tuned to a few operations; what it then generates, how widely, and what it forgot."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor, nn

from ternary_lib.config import InputError, LossConfig
from ternary_lib.coverage import draw_indices, seen, tertile_decoder
from ternary_lib.evaluation import ACTIVE_VARIANCE, decode, encode
from ternary_lib.losses import LossBreakdown, total_loss
from ternary_lib.model import VALUES, Pathway, TernaryVAE
from ternary_lib.operations import NUM_OPERATIONS, POSITIONS, all_operations, from_index
from ternary_lib.randomness import stream

PARTS = ("all", "encoder", "decoder")
WEIGHT_DECAY = 1e-4  # as in training
PAIRS = ((1, 3), (2, 6), (5, 7))  # positions of f(x, y) and f(y, x)
TERMS = ("loss_a", "ce_a", "kl_a", "loss_b", "ce_b", "kl_b")


class Tuned(NamedTuple):
    """What fine-tuning made: the networks asked for, by the steps taken, and every step's loss terms."""

    kept: dict[int, TernaryVAE]
    history: dict[str, list[float]]

    @property
    def model(self) -> TernaryVAE:
        """The network after the last step."""
        return self.kept[max(self.kept)]


def fine_tune(
    model: TernaryVAE,
    indices: Int[Tensor, "n"],
    steps: int = 300,
    *,
    beta: float = 0.3,
    rate: float = 3e-3,
    batch: int = 64,
    replay: float = 0.0,
    part: str = "all",
    keep: Collection[int] = (),
    seed: int = 0,
    loss: LossConfig | None = None,
) -> Tuned:
    """Train a copy of ``model`` further on some operations alone, each pathway as a VAE of its own.

    Minimises L_A + L_B at τ = 1 and ρ = 0 by AdamW. Nothing is mixed, so no pathway sees the other. Batches are drawn with
    replacement, from streams of their own: the same arguments give the same bits, and ``model`` is not changed.

    Args:
        model: where to start; an untrained one gives training from scratch.
        indices: the operations shown, in [0, 19683).
        steps: updates, ≥ 0.
        beta: weight of KL in both pathways, ≥ 0.
        rate: learning rate, > 0.
        batch: operations a step.
        replay: share of each batch that is drawn from all 19,683 operations instead, in [0, 1].
        part: what is trained: ``all``, or the ``encoder`` or ``decoder`` of both pathways, the rest frozen.
        keep: steps after which the network is kept beside the last; 0 is a copy of the start.
        seed: of batches and noise.
        loss: weights of the other terms; None for the defaults.

    Raises:
        InputError: an argument out of its range.

    Example:
        >>> from ternary_lib.config import load_config
        >>> from ternary_lib.operations import is_commutative
        >>> start = TernaryVAE(load_config("configs/smoke.yaml").model)
        >>> tuned = fine_tune(start, torch.where(is_commutative(all_operations()))[0], steps=2)
        >>> sorted(tuned.kept), len(tuned.history["ce_a"])
        ([2], 2)
    """
    _check(steps=steps, beta=beta, rate=rate, batch=batch, replay=replay, part=part, keep=keep)
    tuned = copy.deepcopy(model)
    parameters = _trained(tuned, part)
    device = parameters[0].device
    shown, operations = _shown(indices).to(device), all_operations().to(device)
    order, noise = (stream(seed, "transfer", purpose, device=device) for purpose in ("batches", "noise"))
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=WEIGHT_DECAY, fused=True)
    replayed, lambdas = round(replay * batch), torch.ones(3, device=device)
    kept = {0: copy.deepcopy(tuned)} if 0 in keep or not steps else {}
    rows = []
    for step in range(1, steps + 1):
        x = shown[torch.randint(len(shown), (batch,), generator=order, device=device)]
        x[:replayed] = operations[torch.randint(NUM_OPERATIONS, (replayed,), generator=order, device=device)]
        terms = total_loss(tuned(x, 1.0, 1.0, 0.0, noise), x + 1, (beta, beta), lambdas, config=loss)
        tuned.zero_grad()
        (terms.loss_a + terms.loss_b).backward()
        optimiser.step()
        rows.append(torch.stack([term.detach() for term in terms]))
        if step in keep or step == steps:
            kept[step] = copy.deepcopy(tuned)
    columns = torch.stack(rows).T.tolist() if rows else [[] for _ in LossBreakdown._fields]
    return Tuned(kept, {name: columns[LossBreakdown._fields.index(name)] for name in TERMS})


def hold_out(indices: Int[Tensor, "n"], share: float, seed: int) -> tuple[Int[Tensor, "used"], Int[Tensor, "held"]]:
    """A random ``share`` of the operations to show, at least one, and the rest, which is held out.

    >>> [len(part) for part in hold_out(torch.arange(113), 0.8, seed=0)]
    [90, 23]
    """
    if not 0 < share <= 1:
        raise InputError(f"share {share!r}: expected a fraction above 0, at most 1")
    shuffled = indices[torch.randperm(len(indices), generator=stream(seed, "transfer", "examples"))]
    used, held = shuffled.tensor_split([max(1, round(share * len(indices)))])
    return used, held


def generated(model: TernaryVAE, which: str, draws: int, generator: Generator) -> Int[Tensor, "draws"]:
    """Operations that pathway ``which`` ("a" or "b") gives for draws from the prior, by argmax; a prefix is a smaller budget."""
    pathway = _pathway(model, which)
    return draw_indices(pathway.decoder, draws, ("argmax",), generator, pathway.encoder.mu.out_features)["argmax"].cpu()


def precision(found: Int[Tensor, "draws"], members: Int[Tensor, "m"]) -> float:
    """Share of the draws that lie in a set.

    >>> precision(torch.tensor([5, 5, 7, 9]), torch.tensor([5, 6, 7]))
    0.75
    """
    return float(_mask(members)[found].double().mean())


def recall(found: Int[Tensor, "draws"], members: Int[Tensor, "m"]) -> float:
    """Share of a set that the draws contain; NaN of an empty set.

    >>> recall(torch.tensor([5, 5, 7, 9]), torch.tensor([5, 6, 7, 8]))
    0.5
    """
    return float(seen(found)[members].double().mean())


def recalls(found: Int[Tensor, "draws"], members: Int[Tensor, "m"], budget: int) -> list[float]:
    """Recall of every whole block of ``budget`` draws by itself."""
    return [recall(block, members) for block in found.split(budget) if len(block) == budget]


def draws_until(found: Int[Tensor, "draws"], members: Int[Tensor, "m"], part: float = 0.9) -> float:
    """Draws until so much of a set has been seen; infinite where they do not reach it.

    >>> draws_until(torch.tensor([5, 5, 7, 9]), torch.tensor([5, 7])), draws_until(torch.tensor([5, 5]), torch.tensor([5, 7]))
    (3, inf)
    """
    first = torch.full((NUM_OPERATIONS,), math.inf, dtype=torch.double)
    first = first.scatter_reduce(0, found, torch.arange(1, len(found) + 1, dtype=torch.double), "amin")
    when = float(first[members].sort().values[math.ceil(part * len(members)) - 1])
    return int(when) if math.isfinite(when) else when


def mirrored(z: Float[Tensor, "n latent"]) -> Float[Tensor, "n 9 3"]:
    """The ideal decoder with each pair of ``PAIRS`` read from one line: even over the commutative operations, and makes no other."""
    logits = tertile_decoder(z).clone()
    logits[:, [j for _, j in PAIRS]] = logits[:, [i for i, _ in PAIRS]]
    return logits


def lines_expected(beta: float) -> int:
    """Lines that pay for commutative operations under CE + β·KL: an entry is worth one line's ln 3, a pair of equal ones two.

    >>> [lines_expected(beta) for beta in (0.3, 1.5, 3.0)]
    [6, 3, 0]
    """
    return 6 if beta < 1 else 3 if beta < 2 else 0


def even_recall(members: int, draws: int) -> float:
    """Recall expected of an even generator over a set of m operations and nothing else: 1 - (1 - 1/m)^n.

    >>> round(even_recall(729, 3 * 729), 3)
    0.95
    """
    return 1 - (1 - 1 / members) ** draws


def rebuilt(model: TernaryVAE, which: str) -> Bool[Tensor, "19683"]:
    """Which operations a pathway rebuilds exactly, alone: argmax of what it decodes from its own μ."""
    pathway, x = _pathway(model, which), all_operations().to(next(model.parameters()).device)
    with torch.inference_mode():
        return (decode(pathway, encode(pathway, x)[0]).argmax(-1) == x + 1).all(-1).cpu()


def lines_used(model: TernaryVAE, which: str, indices: Int[Tensor, "n"]) -> int:
    """Latent dimensions that tell these operations apart: Var over them of μ at least 0.01."""
    pathway = _pathway(model, which)
    with torch.inference_mode():
        mu, _ = encode(pathway, all_operations()[indices].to(next(model.parameters()).device))
    return int((mu.var(0) >= ACTIVE_VARIANCE).sum())


def neighbours(indices: Int[Tensor, "n"]) -> Int[Tensor, "19683 10"]:
    """How many of ``indices`` differ from each operation in exactly d entries, d = 0 … 9.

    >>> neighbours(torch.tensor([0, 1]))[4].tolist()  # index 4 ends in the digits 1, 1
    [0, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    """
    entries = nn.functional.one_hot(all_operations() + 1, VALUES).flatten(1).float()  # [19683, 27]
    away = POSITIONS - (entries @ entries[indices].T).long()  # [19683, n]
    return torch.zeros(NUM_OPERATIONS, POSITIONS + 1, dtype=torch.long).scatter_add_(1, away, torch.ones_like(away))


def fair_shares(found: Int[Tensor, "draws"]) -> Float[Tensor, "19683"]:
    """How often each operation was drawn, in units of an even generator's share, draws/19683."""
    return torch.bincount(found, minlength=NUM_OPERATIONS).double() * NUM_OPERATIONS / len(found)


class Favour(NamedTuple):
    """Mean draws of held-out members and of strangers that are matched to them, in fair shares; members that have a match."""

    member: float
    stranger: float
    matched: int

    @property
    def ratio(self) -> float:
        """How many times more often members are drawn; NaN where no stranger was, or none is matched."""
        return self.member / self.stranger if self.matched and self.stranger else math.nan


def favour(found: Int[Tensor, "draws"], members: Int[Tensor, "m"], shown: Int[Tensor, "n"], key: Int[Tensor, "19683 *k"]) -> Favour:
    """Whether members that were not shown are drawn more often than *strangers*, operations outside the set, alike in ``key``.

    A network without the rule draws what lies near its examples, members and strangers alike. ``key`` says what alike means;
    members whose key no stranger shares are left out. NaN where none is left.
    """
    _, group = key.reshape(NUM_OPERATIONS, -1).unique(dim=0, return_inverse=True)
    shares, inside, fresh = fair_shares(found), _mask(members), ~_mask(shown)
    own, own_count = _by_group(shares, group, inside & fresh)
    other, other_count = _by_group(shares, group, ~inside & fresh)
    both = (own_count > 0) & (other_count > 0)
    own, own_count, other, other_count = (part[both] for part in (own, own_count, other, other_count))
    matched = own_count.sum()
    return Favour(float(own.sum() / matched), float((other / other_count * own_count).sum() / matched), int(matched))


def pooled(favours: Sequence[Favour]) -> Favour:
    """Several in one, weighted by the members that were matched."""
    n = sum(found.matched for found in favours)
    if not n:
        return Favour(math.nan, math.nan, 0)
    member, stranger = (sum(getattr(found, part) * found.matched for found in favours if found.matched) / n for part in Favour._fields[:2])
    return Favour(member, stranger, n)


def likenesses(shown: Int[Tensor, "n"]) -> Mapping[str, Int[Tensor, "19683 *k"]]:
    """Two ways of being as near to the examples, keys for ``favour``.

    ``distance``: to the nearest example. ``crowding``: how many examples lie one and two entries away.
    """
    near = neighbours(shown)
    return {"distance": (near > 0).int().argmax(1), "crowding": near[:, 1:3]}


def _by_group(values: Tensor, group: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    # sum of the chosen values, and how many there are, in each group
    size = int(group.max()) + 1
    return torch.bincount(group[chosen], values[chosen], size), torch.bincount(group[chosen], minlength=size)


def _mask(indices: Tensor) -> Bool[Tensor, "19683"]:
    return torch.zeros(NUM_OPERATIONS, dtype=torch.bool).index_fill(0, indices.cpu(), True)


def _pathway(model: TernaryVAE, which: str) -> Pathway:
    if which not in ("a", "b"):
        raise InputError(f"pathway {which!r}: expected 'a' or 'b'")
    return getattr(model, f"pathway_{which}")


def _trained(model: TernaryVAE, part: str) -> list[nn.Parameter]:
    modules = [pathway if part == "all" else getattr(pathway, part) for pathway in (model.pathway_a, model.pathway_b)]
    return [parameter for module in modules for parameter in module.parameters()]


def _shown(indices: Any) -> Int[Tensor, "n 9"]:
    try:
        tables = from_index(indices)
    except ValueError as error:
        raise InputError(f"indices: {error}") from None
    if tables.ndim != 2 or not len(tables):
        raise InputError(f"indices: expected a list of at least one operation, got shape {list(tables.shape[:-1])}")
    return tables


def _check(*, steps: int, beta: float, rate: float, batch: int, replay: float, part: str, keep: Collection[int]) -> None:
    rules = (
        ("steps", steps, steps >= 0, "0 or more"),
        ("beta", beta, beta >= 0, "0 or more"),
        ("rate", rate, rate > 0, "above 0"),
        ("batch", batch, batch >= 1, "1 or more"),
        ("replay", replay, 0 <= replay <= 1, "a share from 0 to 1"),
        ("part", part, part in PARTS, f"one of {', '.join(PARTS)}"),
        ("keep", keep, all(0 <= step <= steps for step in keep), f"steps from 0 to {steps}"),
    )
    for name, value, good, expected in rules:
        if not good:
            raise InputError(f"{name} {value!r}: expected {expected}")
