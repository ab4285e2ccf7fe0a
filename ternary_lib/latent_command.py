"""``ternary latent``: what a trained model's codes look like, in one page or as JSON."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Generator

    from ternary_lib.data import Split
    from ternary_lib.latent import Codes

    Streams = Callable[[str], Generator]  # the random numbers of a purpose

DRAWS = 4_000
PERMUTATIONS = 999
STEPS = 101  # points of each path between two operations
NOISES = (0.0, 0.1, 0.2, 0.3)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


# The page's first table: words, what stands there of a pathway's numbers, its form.
ROWS: tuple[tuple[str, Callable[[dict[str, Any]], Any], str], ...] = (
    ("exact reconstruction, %", lambda p: 100 * p["exact"], ".2f"),
    ("active dimensions", lambda p: p["active_dimensions"], "d"),
    ("different axes of the nine entries", lambda p: p["separate_axes"], "d"),
    ("  least share of an axis that its entry explains, %", lambda p: 100 * min(p["explained_by_entry"]), ".2f"),
    ("  half distance of the codes of −1 and +1, mean", lambda p: _mean(p["spacing"]), ".3f"),
    ("  entry flips when its axis is redrawn, % (even 66.7)", lambda p: 100 * _mean(p["flips_of_entry_on_its_axis"]), ".2f"),
    ("rate, nats", lambda p: p["prior"]["rate"], ".3f"),
    ("  information I(x; z)", lambda p: p["prior"]["information"], ".3f"),
    ("    its standard error", lambda p: p["prior"]["error"], ".3f"),
    ("  Gaussian mismatch of single dimensions to the prior", lambda p: sum(p["prior"]["by_dimension"]), ".3f"),
    ("  total correlation (Gaussian)", lambda p: p["prior"]["total_correlation"], ".3f"),
    ("straight paths that turn no entry back, %", lambda p: 100 * p["walks"]["straight"]["direct"], ".2f"),
    ("  different operations met", lambda p: p["walks"]["straight"]["distinct"], ".2f"),
    ("spherical paths that turn no entry back, %", lambda p: 100 * p["walks"]["spherical"]["direct"], ".2f"),
    ("  different operations met", lambda p: p["walks"]["spherical"]["distinct"], ".2f"),
    ("rank correlation of distances: Hamming", lambda p: p["distance_correlation"]["hamming"], ".3f"),
    ("  distance of trits", lambda p: p["distance_correlation"]["trits"], ".3f"),
    ("nearest 9 codes that differ in one entry, %", lambda p: 100 * p["neighbour_precision"][9], ".2f"),
    ("nearest 18 (one even axis an entry: 66.7)", lambda p: 100 * p["neighbour_precision"][18], ".2f"),
    ("z(a) − z(b) + z(c) is decoded to a − b + c, %", lambda p: 100 * p["arithmetic"]["exact_inside"], ".2f"),
    ("  triples whose a − b + c is a table", lambda p: p["arithmetic"]["inside"], "d"),
    ("  better of answering a and answering c", lambda p: 100 * p["arithmetic"]["copied_inside"], ".2f"),
    ("one entry corrupted: restored, %", lambda p: 100 * p["one_entry_corrupted"]["restored"], ".2f"),
    ("  rebuilt as corrupted", lambda p: 100 * p["one_entry_corrupted"]["copied"], ".2f"),
    ("relabellings that are linear in the trits: R²", lambda p: p["relabellings_explained"]["linear"], ".3f"),
    ("  the other eight (one even axis an entry: 0.25)", lambda p: p["relabellings_explained"]["others"], ".3f"),
)
RULES = {"first": "A", "second": "B", "vote": "vote", "product": "product", "confidence": "confidence", "best_of_two": "best of two*"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``ternary latent``."""
    parser.description = (
        "What the codes of all 19,683 operations look like in a trained model: which latent dimension carries which entry of the table, "
        "how far all codes together are from the prior, what is decoded between operations and around them, whether neighbours in the "
        "code are neighbours as tables, where the algebraic families lie, what adding codes and relabelling values does, and what both "
        "pathways know together. The book's chapter on latent space explains each line. About half a minute on one core."
    )
    parser.epilog = "Example: ternary latent --checkpoint ternary_v5_5 --pathway a"
    words = "a run's checkpoint, e.g. runs/…/last.safetensors, or released weights by name or file, e.g. ternary_v5_5"
    parser.add_argument("--checkpoint", required=True, metavar="FILE", help=words)
    parser.add_argument("--pathway", choices=("a", "b", "both"), default="both", help="whose codes (default: both)")
    words = "measure what the decoders read in training, both codes mixed by the epoch's ρ and τ, instead of each pathway's own code"
    parser.add_argument("--mixed", action="store_true", help=words)
    words = f"random pairs, triples and prior draws behind each estimate, 100 to 1000000; more take longer (default: {DRAWS})"
    parser.add_argument("--draws", type=int, default=DRAWS, metavar="N", help=words)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of those draws: the same seed, the same page (default: 0)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a page")


def run(args: argparse.Namespace) -> int:
    """``ternary latent``: 0 done; InputError for a file or a number that cannot be used."""
    from ternary_lib.strict_yaml import ConfigError

    if not 100 <= args.draws <= 1_000_000:
        raise ConfigError(f"--draws {args.draws}: expected a whole number from 100 to 1000000")
    if not 0 <= args.seed < 2**63:
        raise ConfigError(f"--seed {args.seed}: expected a whole number from 0 to 2^63 - 1")
    found = measure(args.checkpoint, args.pathway, args.mixed, args.draws, args.seed)
    print(json.dumps(_without_nan(found), indent=1, ensure_ascii=False) if args.json else describe(found))
    return 0


def measure(source: str | Path, pathway: str = "both", mixed: bool = False, draws: int = DRAWS, seed: int = 0) -> dict[str, Any]:
    """Everything that the command reports, as numbers.

    Args:
        source: a released name, or the path of a checkpoint or of a released file.
        pathway: ``"a"``, ``"b"`` or ``"both"``; what both know together is measured with ``"both"`` alone.
        mixed: read the mixtures of the saved epoch's ρ and τ instead of each pathway's own codes.
        draws: random pairs, triples and prior draws behind each estimate.
        seed: of those.

    Raises:
        InputError: no such name or file, or a file that cannot be used; one line.
    """
    from ternary_lib import latent, resilience, weights
    from ternary_lib.data import split_indices
    from ternary_lib.randomness import stream

    model, config, controls = weights.load(source)
    read = {name: getattr(controls, name) for name in latent.OWN} if mixed else latent.OWN
    codes = {name: latent.codes_of(model, name, read) for name in ("a", "b")}
    for name, found in codes.items():
        _require_finite(found, f"{source}: pathway {name.upper()}")
    split, chosen = split_indices(config.data), ("a", "b") if pathway == "both" else (pathway,)
    result: dict[str, Any] = {
        "checkpoint": str(source), "epoch": controls.epoch, "rho": controls.rho, "codes": "mixed" if mixed else "own",
        "draws": draws, "seed": seed,
        "pathways": {name: _measure_pathway(codes[name], split, draws, partial(_stream, seed, name)) for name in chosen},
    }  # fmt: skip
    if pathway == "both":
        pair = (codes["a"], codes["b"])
        rows = {f"noise_{s:g}": resilience.ensemble(pair, s, stream(seed, "latent", "together", str(s))) for s in NOISES}
        result["together"] = rows
    return result


def _stream(seed: int, pathway: str, purpose: str) -> Generator:
    from ternary_lib.randomness import stream

    return stream(seed, "latent", purpose, pathway)


def _require_finite(codes: Codes, origin: str) -> None:
    from ternary_lib.checkpoint import CheckpointError

    if not codes.mu.isfinite().all() or not codes.logvar.isfinite().all():
        raise CheckpointError(f"{origin} has codes that are not finite numbers")


def _measure_pathway(codes: Codes, split: Split, draws: int, of: Streams) -> dict[str, Any]:
    from ternary_lib import latent_geometry, resilience
    from ternary_lib.operations import all_operations

    return {
        "exact": float((codes.tables(codes.mu) == all_operations()).all(-1).double().mean()),
        **_axes(codes, draws, of),
        "prior": _prior(codes, draws, of),
        **_geometry(codes, draws, of),
        "families": _families(codes, of),
        "noise": {f"{s:g}": resilience.exact_under_noise(codes, s, of(f"noise {s}")) for s in NOISES},
        "one_entry_corrupted": resilience.repair(codes, 1, of("corrupted"))._asdict(),
        "arithmetic": latent_geometry.arithmetic(codes, max(draws, 4_000), of("arithmetic"))._asdict(),
        "relabellings_explained": _relabellings(codes, split),
    }


def _active(codes: Codes) -> Any:
    from ternary_lib.evaluation import ACTIVE_VARIANCE

    return codes.mu.var(0) >= ACTIVE_VARIANCE  # bool [latent]


def _axes(codes: Codes, draws: int, of: Streams) -> dict[str, Any]:
    """Which dimension carries which entry."""
    from ternary_lib import latent, mechanism

    axes = mechanism.axes(codes.mu.double())
    return {
        "active_dimensions": int(_active(codes).sum()),
        "axis_of_entry": axes.axis.tolist(),
        "separate_axes": axes.separate,
        "explained_by_entry": axes.share.tolist(),
        "flips_of_entry_on_its_axis": latent.flips(codes, draws, of("flips"))[axes.axis, range(9)].tolist(),
        "spacing": axes.spacing.tolist(),
    }


def _prior(codes: Codes, draws: int, of: Streams) -> dict[str, Any]:
    """The aggregated posterior beside the prior."""
    from ternary_lib import latent

    q = latent.aggregate(codes, min(draws, 4_096), of("information"))
    lists = {"mean": q.mean.tolist(), "variance": q.variance.tolist(), "by_dimension": q.by_dimension.tolist()}
    return q._asdict() | lists | {"mismatch": q.mismatch, "shape": q.shape}


def _geometry(codes: Codes, draws: int, of: Streams) -> dict[str, Any]:
    """What lies between two codes and beside one."""
    import torch

    from ternary_lib import latent_geometry
    from ternary_lib.operations import NUM_OPERATIONS

    ends = codes.mu[torch.randint(NUM_OPERATIONS, (2, max(10, draws // 10)), generator=of("walks"))]  # [2, walks, latent]
    paths = {"straight": latent_geometry.straight, "spherical": latent_geometry.spherical}
    chosen = torch.randperm(NUM_OPERATIONS, generator=of("neighbours"))[: min(draws, NUM_OPERATIONS)]
    return {
        "walks": {name: latent_geometry.walk(codes, path(*ends, STEPS)).summary() for name, path in paths.items()},
        "distance_correlation": latent_geometry.distance_agreement(codes.mu, draws, of("pairs"))._asdict(),
        "neighbour_precision": {k: latent_geometry.neighbour_precision(codes.mu, chosen, k) for k in (9, 18)},
    }


def _families(codes: Codes, of: Streams) -> dict[str, Any]:
    """How close together the members of each algebraic family lie, and whether a line parts them from the rest."""
    from ternary_lib import latent_geometry
    from ternary_lib.operations import all_operations

    found = {}
    for family, holds in latent_geometry.FAMILIES.items():
        members = holds(all_operations())
        close = latent_geometry.closeness(codes.mu, members, PERMUTATIONS, of(family))
        apart = latent_geometry.linear_separability(codes.mu, members, of(family))
        found[family] = {"members": close.members, "distance_ratio": close.ratio, "p": close.p, "auc": apart.auc, "auc_sd": apart.sd}
    return found


def _relabellings(codes: Codes, split: Split) -> dict[str, float]:
    """R² of the linear map that stands for a relabelling, mean over those that are linear in the trits and over the others."""
    from ternary_lib import relabelling

    means, fits = codes.mu[:, _active(codes)], {True: [], False: []}
    for g, image in list(zip(relabelling.GROUP, relabelling.images(), strict=True))[1:]:  # the identity is no test
        fits[g.linear].append(relabelling.fit_relabelling(means, image, split.train, split.test))
    return {"linear": _mean(fits[True]), "others": _mean(fits[False])}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def describe(found: dict[str, Any]) -> str:
    """The page that ``ternary latent`` prints."""
    parts = found["pathways"]
    lines = [f"epoch {found['epoch']}, {found['codes']} codes, ρ = {found['rho']:.3f}; {found['draws']:,} draws, seed {found['seed']}", ""]
    lines += [f"{'':52}" + "".join(f"{name.upper():>10}" for name in parts)]
    lines += [f"{label:52}" + "".join(f"{take(part):10{form}}" for part in parts.values()) for label, take, form in ROWS]
    lines += ["", *_describe_families({name: part["families"] for name, part in parts.items()})]
    if "together" in found:
        lines += ["", *_describe_together(found["together"])]
    return "\n".join(lines)


def _describe_families(families: dict[str, Any]) -> list[str]:
    heads = "".join(f"{'distance/chance, p, AUC  ' + name.upper():>30}" for name in families)
    lines = ["where families lie: mean squared distance over that of random sets, permutation p (uncorrected), AUC of a linear classifier"]
    lines += [f"{'family':16}{'members':>8}{heads}"]
    for family, first in next(iter(families.values())).items():
        rows = (found[family] for found in families.values())
        lines.append(f"{family:16}{first['members']:8}" + "".join(f"{r['distance_ratio']:14.3f}{r['p']:8.3f}{r['auc']:8.3f}" for r in rows))
    return lines


def _describe_together(together: dict[str, Any]) -> list[str]:
    lines = [f"{'exact, %, by noise on both codes':34}" + "".join(f"{name:>13}" for name in RULES.values())]
    for scale, got in together.items():
        lines.append(f"{scale.removeprefix('noise_'):34}" + "".join(f"{100 * got[rule]:13.2f}" for rule in RULES))
    return [*lines, "* uses the answer: counts what either has right"]
