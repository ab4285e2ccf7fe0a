"""What a build writes for the hand-written pages: values for the `value` role, the headline figure, the build's record."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ternary_lib import limit, records, robustness
from ternary_lib.chapters import PACKAGES, Chapter, Layout, size_parameters, write_if_changed
from ternary_lib.config import ConfigError, config_from_mapping, config_hash, load_config
from ternary_lib.explorer_page import explorer_html
from ternary_lib.ledger import load
from ternary_lib.ledger_words import tally
from ternary_lib.live import live_html
from ternary_lib.weights import load_model

BOOK_PACKAGES = (*PACKAGES, "jupyter-book", "sphinx", "sphinx-book-theme", "myst-nb", "nbconvert")


def write_pages(layout: Layout, size: str, chapters: Sequence[Chapter]) -> None:
    """Write values.json, headline.html, explorer.html, live.html, build.md and reliability_*.md into the generated folder.

    They are functions of the executed chapters, the run's record and the checkout alone: building twice writes the same.
    """
    record = find_record(layout, size)
    run = {key: value for key, value in record.items() if key != "history"}
    values = {"build": build_record(size, chapters), "headline": headline(record), "run": run}
    values |= {"claims": tally(load()), "guide": tuning_example(), "limit": limit.first_page()}
    values |= {"sweeps": recorded_runs(layout.root / "configs" / "sweeps")}
    write_if_changed(layout.generated / "values.json", json.dumps(values, indent=1, ensure_ascii=False) + "\n")
    write_if_changed(layout.generated / "headline.html", headline_figure(record) if record else "")
    write_if_changed(layout.generated / "explorer.html", explorer_html(record) if record else "")
    write_if_changed(layout.generated / "live.html", live_html(load_model("ternary_v5_5")))
    write_if_changed(layout.generated / "build.md", build_page(values))
    for name, text in robustness.tables(records.results_dir()).items():
        write_if_changed(layout.generated / f"reliability_{name}.md", text)


def find_record(layout: Layout, size: str) -> dict[str, Any]:
    """The record of the run that this size's chapters are about; empty where the parameters name no configuration."""
    parameters = size_parameters(layout, size, "03_training")
    if "config" not in parameters:
        return {}
    config = load_config(parameters["config"], parameters.get("overrides"), parameters.get("seed"))
    folder = Path(parameters.get("run_dir") or records.default_run_dir(config))
    kept = layout.store(size) / "record.json"  # outlives runs/, as the executed chapters do
    if (folder / "record.json").is_file():
        shutil.copyfile(folder / "record.json", kept)
    found = records.read_json(kept) if kept.is_file() else {}
    if (found.get("config_hash"), found.get("source_hash")) != (config_hash(config), records.source_hash()):
        raise ConfigError(f"{folder}: the run that the chapters are about is not there; build again, the library left alone meanwhile")
    return found


def build_record(size: str, chapters: Sequence[Chapter]) -> dict[str, Any]:
    """Commit, versions, hardware and seconds of this build."""
    return {
        "size": size,
        "commit": records.library_commit() or "not a git checkout",
        "hardware": records.hardware(),
        "versions": {"python": records.versions()["python"], **_versions()},
        "chapters": [asdict(chapter) for chapter in chapters],
        "seconds": round(sum(chapter.seconds for chapter in chapters), 1),
    }


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {package: version(package) for package in BOOK_PACKAGES}


def headline(record: Mapping[str, Any]) -> dict[str, Any]:
    """The first page's numbers: coverage at the largest budget that every epoch is measured at, beside what it means."""
    if not record:
        return {}
    from ternary_lib.coverage import efficiency, uniform_coverage
    from ternary_lib.model import TernaryVAE
    from ternary_lib.operations import NUM_OPERATIONS

    history, budget = record["history"], record["config"]["evaluation"]["budgets"][-1]
    phases = record["config"]["schedules"]["phases"]
    found: dict[str, Any] = {
        "epochs": len(history["epoch"]),
        "budget": budget,
        "uniform": uniform_coverage(budget),
        "parameters": sum(p.numel() for p in TernaryVAE(config_from_mapping(record["config"]).model).parameters()),
        "minutes": record["seconds"]["total"] / 60,
        "best_validation_loss": record["best_validation_loss"],
        "best_epoch": record["best_epoch"],
    }
    for name in ("a", "b"):
        counts = history[f"{name}.coverage.argmax.{budget}"]
        final, untrained, exact = record["final"][name], record["untrained"][name], history[f"{name}.exact_all"]
        found[name] = {
            "found": counts[-1],
            "coverage": counts[-1] / NUM_OPERATIONS,
            "best": max(counts) / NUM_OPERATIONS,
            "best_epoch": history["epoch"][counts.index(max(counts))],
            "complete_epochs": counts.count(NUM_OPERATIONS),
            "complete_epochs_expectation": history[f"{name}.coverage.expectation.{budget}"].count(NUM_OPERATIONS),
            "expectation": final[f"coverage.expectation.{budget}"] / NUM_OPERATIONS,
            "untrained": untrained[f"coverage.argmax.{budget}"] / NUM_OPERATIONS,
            "untrained_categorical": untrained[f"coverage.categorical.{budget}"] / NUM_OPERATIONS,
            "efficiency": efficiency(counts[-1] / NUM_OPERATIONS, budget),
            "exact": final["exact_all"],
            "exact_consolidated": exact[max(row for row, epoch in enumerate(history["epoch"]) if epoch < phases[1])],
        }
    both = zip(*(history[f"{name}.coverage.expectation.{budget}"] for name in ("a", "b")), strict=True)
    found["both_complete_epochs_expectation"] = sum(1 for pair in both if min(pair) == NUM_OPERATIONS)
    return found


def tuning_example() -> dict[str, Any]:
    """What the guide to tuning says of its sweep: the best two on the validation set, and the best on the seeds that are reported."""
    from statistics import fmean

    from ternary_lib.comparison import METRICS
    from ternary_lib.sweeps import load_sweep, recorded

    found = recorded(load_sweep("configs/sweeps/guide.yaml"))

    def scores(metric: str, seeds: Sequence[int]) -> dict[str, float]:
        runs = [run for run in found if run["seed"] in seeds]
        by_label = {run["label"]: [r for r in runs if r["label"] == run["label"]] for run in runs}
        return {label: fmean(METRICS[metric].value(run, p) for run in mine for p in "ab") for label, mine in by_label.items()}

    chosen_by = scores("exact_validation", range(100, 103))
    best, second = sorted(chosen_by, key=chosen_by.__getitem__, reverse=True)[:2]
    return {
        "chosen": best,
        "chosen_score": chosen_by[best],
        "second": second,
        "second_score": chosen_by[second],
        "reported": scores("exact_test", range(5))[best],
    }


def recorded_runs(folder: Path) -> dict[str, dict[str, int]]:
    """Of every sweep file in a folder, how many runs it asks for and how many of them are recorded in this checkout."""
    from ternary_lib.sweeps import load_sweep, recorded

    sweeps = {path.stem: load_sweep(path) for path in sorted(folder.glob("*.yaml"))}
    return {name: {"runs": len(tasks), "recorded": len(recorded(tasks))} for name, tasks in sweeps.items()}


def headline_figure(record: Mapping[str, Any]) -> str:
    """The first page's figure: what each pathway misses, and how much it still reconstructs alone, epoch by epoch."""
    import matplotlib.pyplot as plt

    from ternary_lib.figures import figure_html

    figure, data = _draw_headline(record)
    budget = record["config"]["evaluation"]["budgets"][-1]
    page = figure_html(figure, "headline", _headline_caption(budget), _headline_alt(headline(record)), data)
    plt.close(figure)
    return page + "\n"


def readme_picture(record: Mapping[str, Any]) -> str:
    """The same figure as a picture file of its own, black on white."""
    import matplotlib.pyplot as plt

    from ternary_lib.figures import lift_titles
    from ternary_lib.svg import standalone, to_svg

    figure, _ = _draw_headline(record)
    lift_titles(figure)
    picture = standalone(*to_svg(figure, "headline"))
    plt.close(figure)
    return picture + "\n"


def _draw_headline(record: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The figure and the numbers it shows."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from ternary_lib.coverage import uniform_coverage
    from ternary_lib.figures import COLOURS, LINES, shade_phases, style
    from ternary_lib.operations import NUM_OPERATIONS

    style()
    config = config_from_mapping(record["config"])
    history, budget = record["history"], config.evaluation.budgets[-1]
    data = {"epoch": history["epoch"]}
    figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(5.2, 4.6))
    for name in ("a", "b"):
        missed = [100 * (1 - count / NUM_OPERATIONS) for count in history[f"{name}.coverage.argmax.{budget}"]]
        exact = [100 * value for value in history[f"{name}.exact_all"]]
        data |= {f"missed_{name}_percent": missed, f"exact_{name}_percent": exact}
        look = {"color": COLOURS[name], "linestyle": LINES[name], "label": f"pathway {name.upper()}"}
        top.plot(history["epoch"], [max(value, 100 / NUM_OPERATIONS / 2) for value in missed], **look)
        bottom.plot(history["epoch"], exact, **look)
    limit = 100 * (1 - uniform_coverage(budget))
    top.axhline(limit, color=COLOURS["uniform"], linestyle=LINES["uniform"], label="uniform generator")
    top.set(yscale="log", ylabel="operations missed (%)", title=f"Missed among {budget:,} draws")
    bottom.set(xlabel="epoch", ylabel="operations (%)", ylim=(-3, 103), title="Reconstructed exactly by each pathway alone")
    top.yaxis.set_major_formatter("{x:g}")
    top.yaxis.set_minor_formatter("")
    shade_phases(top, config)
    shade_phases(bottom, config, names=False)
    bottom.legend(*top.get_legend_handles_labels(), loc="center", bbox_to_anchor=(0.4, 0.45))
    return figure, data


def _headline_caption(budget: int) -> str:
    return (
        "The run behind this book, epoch by epoch; the four training phases are shaded. Above: operations that never appear among "
        f"{budget:,} argmax-decoded prior draws (none missed is drawn at half an operation), beside the expectation of a uniform "
        "generator. Below: operations that a pathway decodes exactly from its own code."
    )


def _headline_alt(values: Mapping[str, Any]) -> str:
    parts = [
        f"pathway {name.upper()} ends at {values[name]['coverage']:.2%} coverage, after a best of {values[name]['best']:.2%} "
        f"in epoch {values[name]['best_epoch']}, and reconstructs {values[name]['exact']:.1%} alone"
        for name in ("a", "b")
    ]
    return "Two curves over epochs in each of two panels: " + "; ".join(parts) + "."


def build_page(values: Mapping[str, Any]) -> str:
    """The tables of the page 'How this book was made', in Markdown."""
    build, run = values["build"], values["run"]
    machine = build["hardware"]
    lines = ["## This build", ""]
    rows = [("size", build["size"]), ("commit", f"`{build['commit']}`"), ("processor", f"{machine['cpu']}, {machine['cores']} cores")]
    lines += _table(("what", "value"), [*rows, ("system", machine["system"])])
    lines += ["## Seconds per chapter", ""]
    rows = [(f"`{c['name']}`", f"{c['seconds']:.1f}", c["finished"], _parameters(c["parameters"])) for c in build["chapters"]]
    lines += _table(("chapter", "seconds", "executed", "parameters"), [*rows, ("all", f"{build['seconds']:.1f}", "", "")])
    if run:
        hashes = [("configuration", run["config_hash"]), ("training code", run["source_hash"]), ("weights", run["weights_sha256"])]
        rows = [("run", f"{run['name']}, seed {run['seed']}"), ("started", run["started"]), ("device", run["device"])]
        rows += [(f"seconds, {key}", f"{value:.1f}") for key, value in run["seconds"].items()]
        rows += [("commit", f"`{run['library_commit'] or 'not a git checkout'}`"), *((f"SHA-256 of {k}", f"`{v}`") for k, v in hashes)]
        lines += ["## The run", "", *_table(("what", "value"), rows)]
    lines += ["## Versions", "", *_table(("package", "version"), list(build["versions"].items()))]
    return "\n".join(lines)


def _parameters(values: Mapping[str, Any]) -> str:
    return ", ".join(f"`{key}: {value}`" for key, value in values.items()) or "defaults"


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    lines = ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads), *lines, ""]


if __name__ == "__main__":  # what `make results` ends with
    picture = readme_picture(records.load_record("ternary_v5_5_seed42"))
    (records.results_dir() / "headline.svg").write_text(picture, encoding="utf-8")
