"""``ternary latent``: what a checkpoint's codes look like, in one page or as JSON."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ternary_lib.latent import Codes

DRAWS = 4_000
PERMUTATIONS = 999
STEPS = 101  # points of each path between two operations
NOISES = (0.0, 0.1, 0.2, 0.3)


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``ternary latent``."""
    parser.description = (
        "What the codes of all 19,683 operations look like in a checkpoint: which latent dimension carries which entry of the table, how "
        "the aggregated posterior lies to the prior, what is decoded between operations and around them, whether neighbours in the code "
        "are neighbours as tables, where the algebraic families lie, what adding codes and relabelling values does, and what both "
        "pathways know together. Takes about half a minute on one core."
    )
    parser.add_argument("--checkpoint", required=True, metavar="FILE", help="e.g. runs/…/last.safetensors")
    parser.add_argument("--pathway", choices=("a", "b", "both"), default="both", help="whose codes (default: both)")
    words = "read the mixtures that the decoders read in training, at the checkpoint's ρ and τ, instead of each pathway's own code"
    parser.add_argument("--mixed", action="store_true", help=words)
    words = f"random pairs, triples and prior draws behind each estimate, 100 to 1000000 (default: {DRAWS})"
    parser.add_argument("--draws", type=int, default=DRAWS, metavar="N", help=words)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of those draws (default: 0)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a page")


def run(args: argparse.Namespace) -> int:
    """``ternary latent``: 0 done; InputError for a file or a number that cannot be used."""
    from ternary_lib.strict_yaml import ConfigError

    if not 100 <= args.draws <= 1_000_000:
        raise ConfigError(f"--draws {args.draws}: expected a whole number from 100 to 1000000")
    if not 0 <= args.seed < 2**63:
        raise ConfigError(f"--seed {args.seed}: expected a whole number from 0 to 2^63 - 1")
    found = measure(Path(args.checkpoint), args.pathway, args.mixed, args.draws, args.seed)
    print(json.dumps(_without_nan(found), indent=1, ensure_ascii=False) if args.json else describe(found))
    return 0


def measure(path: Path, pathway: str = "both", mixed: bool = False, draws: int = DRAWS, seed: int = 0) -> dict[str, Any]:
    """Everything that the command reports, as numbers.

    Args:
        path: a checkpoint of a run.
        pathway: ``"a"``, ``"b"`` or ``"both"``; what both know together is measured with ``"both"`` alone.
        mixed: read the mixtures of the checkpoint's ρ and τ instead of each pathway's own codes.
        draws: random pairs, triples and prior draws behind each estimate.
        seed: of those.

    Raises:
        CheckpointError, ConfigError: a file that cannot be used; one line.
    """
    import torch

    from ternary_lib import checkpoint, journal, latent, resilience
    from ternary_lib.config import config_from_mapping
    from ternary_lib.data import split_indices
    from ternary_lib.model import TernaryVAE
    from ternary_lib.randomness import stream

    tensors, meta = checkpoint.load(path)
    config = config_from_mapping(meta["config"], origin=str(path))
    model = TernaryVAE(config.model)
    journal.load_weights(model, tensors)
    try:
        controls = journal.last_controls(journal.read_history(tensors))
    except (KeyError, IndexError, TypeError) as error:
        raise checkpoint.CheckpointError(f"{path}: holds no complete history ({error})") from None
    read = {name: getattr(controls, name) for name in latent.OWN} if mixed else latent.OWN
    codes = {name: latent.codes_of(model, name, read) for name in ("a", "b")}
    for name, found in codes.items():
        if not torch.isfinite(found.mu).all() or not torch.isfinite(found.logvar).all():
            raise checkpoint.CheckpointError(f"{path}: pathway {name.upper()} has codes that are not finite numbers")
    result: dict[str, Any] = {"checkpoint": str(path), "epoch": controls.epoch, "rho": controls.rho, "codes": "mixed" if mixed else "own"}
    result |= {"draws": draws, "seed": seed, "pathways": {}}
    for name in ("a", "b") if pathway == "both" else pathway:
        result["pathways"][name] = _measure_pathway(codes[name], split_indices(config.data), draws, seed, name)
    if pathway == "both":
        pair = (codes["a"], codes["b"])
        rows = {f"noise_{s:g}": resilience.ensemble(pair, s, stream(seed, "latent", "together", str(s))) for s in NOISES}
        result["together"] = rows
    return result


def _measure_pathway(codes: Codes, split: Any, draws: int, seed: int, name: str) -> dict[str, Any]:
    import torch

    from ternary_lib import latent, latent_geometry, mechanism, relabelling, resilience
    from ternary_lib.evaluation import ACTIVE_VARIANCE
    from ternary_lib.operations import NUM_OPERATIONS, all_operations
    from ternary_lib.randomness import stream

    def of(purpose: str) -> torch.Generator:
        return stream(seed, "latent", purpose, name)

    x, axes = all_operations(), mechanism.axes(codes.mu.double())
    active = codes.mu.var(0) >= ACTIVE_VARIANCE
    turned = latent.flips(codes, draws, of("flips"))
    q = latent.aggregate(codes, min(draws, 4_096), of("information"))
    ends = codes.mu[torch.randint(NUM_OPERATIONS, (2, max(10, draws // 10)), generator=of("walks"))]
    paths = {"straight": latent_geometry.straight, "spherical": latent_geometry.spherical}
    chosen = torch.randperm(NUM_OPERATIONS, generator=of("neighbours"))[: min(draws, NUM_OPERATIONS)]
    lie = {}
    for family, holds in latent_geometry.FAMILIES.items():
        close = latent_geometry.closeness(codes.mu, holds(x), PERMUTATIONS, of(family))
        apart = latent_geometry.linear_separability(codes.mu, holds(x), of(family))
        lie[family] = {"members": close.members, "distance_ratio": close.ratio, "p": close.p, "auc": apart.auc, "auc_sd": apart.sd}
    fits = [
        (g.linear, relabelling.fit_relabelling(codes.mu[:, active], image, split.train, split.test).explained)
        for g, image in list(zip(relabelling.GROUP, relabelling.images(), strict=True))[1:]  # the identity is no test
    ]
    return {
        "exact": float((codes.tables(codes.mu) == x).all(-1).double().mean()),
        "active_dimensions": int(active.sum()),
        "axis_of_entry": axes.axis.tolist(),
        "separate_axes": axes.separate,
        "explained_by_entry": axes.share.tolist(),
        "flips_of_entry_on_its_axis": turned[axes.axis, range(9)].tolist(),
        "spacing": axes.spacing.tolist(),
        "prior": q._asdict() | {"mean": q.mean.tolist(), "variance": q.variance.tolist(), "by_dimension": q.by_dimension.tolist()}
        | {"mismatch": q.mismatch, "shape": q.shape},
        "walks": {name: latent_geometry.walk(codes, path(*ends, STEPS)).summary() for name, path in paths.items()},
        "distance_correlation": latent_geometry.distance_agreement(codes.mu, draws, of("pairs"))._asdict(),
        "neighbour_precision": {k: latent_geometry.neighbour_precision(codes.mu, chosen, k) for k in (9, 18)},
        "families": lie,
        "noise": {f"{s:g}": resilience.exact_under_noise(codes, s, of(f"noise {s}")) for s in NOISES},
        "one_entry_corrupted": resilience.repair(codes, 1, of("corrupted"))._asdict(),
        "arithmetic": latent_geometry.arithmetic(codes, max(draws, 4_000), of("arithmetic"))._asdict(),
        "relabellings_explained": {
            "linear": _mean([value for linear, value in fits if linear]), "others": _mean([value for linear, value in fits if not linear]),
        },
    }  # fmt: skip


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def describe(found: dict[str, Any]) -> str:
    """The page that ``ternary latent`` prints."""
    parts = found["pathways"]
    heads = "".join(f"{name.upper():>10}" for name in parts)
    lines = [f"epoch {found['epoch']}, {found['codes']} codes, ρ = {found['rho']:.3f}; {found['draws']:,} draws, seed {found['seed']}", ""]
    lines += [f"{'':52}{heads}"]

    def row(label: str, take: Any, form: str) -> None:
        lines.append(f"{label:52}" + "".join(format(take(part), form) for part in parts.values()))

    row("exact reconstruction, %", lambda p: 100 * p["exact"], "10.2f")
    row("active dimensions", lambda p: p["active_dimensions"], "10d")
    row("different axes of the nine entries", lambda p: p["separate_axes"], "10d")
    row("  least share of an axis that its entry explains, %", lambda p: 100 * min(p["explained_by_entry"]), "10.2f")
    row("  half distance of the codes of −1 and +1, mean", lambda p: _mean(p["spacing"]), "10.3f")
    row("  entry flips when its axis is redrawn, % (even 66.7)", lambda p: 100 * _mean(p["flips_of_entry_on_its_axis"]), "10.2f")
    row("rate, nats", lambda p: p["prior"]["rate"], "10.3f")
    row("  information I(x; z)", lambda p: p["prior"]["information"], "10.3f")
    row("    its standard error", lambda p: p["prior"]["error"], "10.3f")
    row("  Gaussian mismatch of single dimensions to the prior", lambda p: sum(p["prior"]["by_dimension"]), "10.3f")
    row("  total correlation (Gaussian)", lambda p: p["prior"]["total_correlation"], "10.3f")
    for name in ("straight", "spherical"):
        row(f"{name} paths that turn no entry back, %", lambda p, name=name: 100 * p["walks"][name]["direct"], "10.2f")
        row("  different operations met", lambda p, name=name: p["walks"][name]["distinct"], "10.2f")
    row("rank correlation of distances: Hamming", lambda p: p["distance_correlation"]["hamming"], "10.3f")
    row("  distance of trits", lambda p: p["distance_correlation"]["trits"], "10.3f")
    row("nearest 9 codes that differ in one entry, %", lambda p: 100 * p["neighbour_precision"][9], "10.2f")
    row("nearest 18 (one even axis an entry: 66.7)", lambda p: 100 * p["neighbour_precision"][18], "10.2f")
    row("z(a) − z(b) + z(c) is decoded to a − b + c, %", lambda p: 100 * p["arithmetic"]["exact_inside"], "10.2f")
    row("  triples whose a − b + c is a table", lambda p: p["arithmetic"]["inside"], "10d")
    row("  better of answering a and answering c", lambda p: 100 * p["arithmetic"]["copied_inside"], "10.2f")
    row("one entry corrupted: restored, %", lambda p: 100 * p["one_entry_corrupted"]["restored"], "10.2f")
    row("  rebuilt as corrupted", lambda p: 100 * p["one_entry_corrupted"]["copied"], "10.2f")
    row("relabellings that are linear in the trits: R²", lambda p: p["relabellings_explained"]["linear"], "10.3f")
    row("  the other eight (one even axis an entry: 0.25)", lambda p: p["relabellings_explained"]["others"], "10.3f")
    lines += [
        "",
        "where families lie: mean squared distance over that of random sets, permutation p (uncorrected), AUC of a linear classifier",
    ]
    lines += [f"{'family':16}{'members':>8}" + "".join(f"{'distance/chance, p, AUC  ' + name.upper():>30}" for name in parts)]
    for family, first in next(iter(parts.values()))["families"].items():
        rows = (part["families"][family] for part in parts.values())
        lines.append(f"{family:16}{first['members']:8}" + "".join(f"{r['distance_ratio']:14.3f}{r['p']:8.3f}{r['auc']:8.3f}" for r in rows))
    if "together" in found:
        rules = ("first", "second", "vote", "product", "confidence", "best_of_two")
        names = ("A", "B", "vote", "product", "confidence", "best of two*")
        lines += ["", f"{'exact, %, by noise on both codes':34}" + "".join(f"{name:>13}" for name in names)]
        for scale, got in found["together"].items():
            lines.append(f"{scale.removeprefix('noise_'):34}" + "".join(f"{100 * got[rule]:13.2f}" for rule in rules))
        lines.append("* uses the answer: counts what either has right")
    return "\n".join(lines)
