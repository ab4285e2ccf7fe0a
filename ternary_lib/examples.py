"""The worked examples and the guides' commands, run as a reader would, so that their pages show what really comes out."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import runpy
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ternary_lib.chapters import Layout, write_if_changed

# What a page shows as generated/examples/NAME.txt; where `{picture}` stands it is drawn once more, as a figure of the book, NAME.html.
COMMANDS = {
    "basic_training": "python book/examples/basic_training.py",
    "coverage_analysis": "python book/examples/coverage_analysis.py",
    "latent_space_viz": "python book/examples/latent_space_viz.py {picture}",
    "transfer_learning": "python book/examples/transfer_learning.py",
    "evaluate": "ternary evaluate --checkpoint ternary_v5_5",
    "tuning_choice": "ternary compare configs/sweeps/guide.yaml --reference rate_default --seeds 100 101 102 --metrics exact_validation",
    "tuning_report": "ternary compare configs/sweeps/guide.yaml --reference rate_default --seeds 0 1 2 3 4 --metrics exact_test",
}

FIGURES = {  # caption, and what is to be seen
    "latent_space_viz": (
        "What the script draws, in the book's colours: the posterior mean of every operation, the commutative ones in blue.",
        "A scatter plot of the means of all operations in two latent dimensions, in nine separate clouds of three rows and three columns; "
        "the commutative operations form a narrow band in each cloud.",
    )
}


class ExampleError(RuntimeError):
    """An example that failed; the message is one line."""


def make_examples(layout: Layout) -> None:
    """Run every command whose script the book has, unless it is up to date, and keep what it prints and draws."""
    folder, key = layout.generated / "examples", _key(layout)
    for name, command in COMMANDS.items():
        script = next((part for part in shlex.split(command) if part.endswith((".py", ".yaml"))), None)
        if not (layout.root / (script or "book/examples")).exists():
            continue
        stamp = folder / f".{name}.key"
        if stamp.is_file() and stamp.read_text() == f"{key} {command}":
            continue
        print(f"Example: {name}", flush=True)
        write_if_changed(folder / f"{name}.txt", run(command, layout.root, folder / f"{name}.png"))
        if name in FIGURES:
            write_if_changed(folder / f"{name}.html", figure(layout.root / script, name, *FIGURES[name]) + "\n")
        stamp.write_text(f"{key} {command}")


def run(command: str, root: Path, picture: Path) -> str:
    """Run one command from ``root``; what it printed.

    Raises:
        ExampleError: it failed.
    """
    picture.parent.mkdir(parents=True, exist_ok=True)
    words = [word.replace("{picture}", str(picture)) for word in shlex.split(command)]
    program = [sys.executable, "-m", "ternary_lib"] if words[0] == "ternary" else [sys.executable]
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "MPLBACKEND": "Agg"}
    done = subprocess.run([*program, *words[1:]], cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise ExampleError(f"{command}: {last}")
    return done.stdout


def figure(script: Path, name: str, caption: str, alt: str) -> str:
    """The HTML of the figure that a script draws: its ink follows the page, its picture and its points can be taken away."""
    import matplotlib.pyplot as plt

    from ternary_lib.figures import figure_html, style

    style()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()), _arguments(str(script), f"{folder}/drawn.png"):
        drawn = runpy.run_path(str(script), run_name="__main__")["figure"]
    drawn.set_dpi(200)  # of what a script draws as dots rather than shapes
    axes = drawn.axes[0]
    names = {"x": axes.get_xlabel(), "y": axes.get_ylabel()}
    points = [
        {"set": dots.get_label(), names["x"]: round(float(x), 4), names["y"]: round(float(y), 4)}
        for dots in axes.collections
        for x, y in dots.get_offsets()
    ]
    page = figure_html(drawn, name.replace("_", "-"), caption, alt, points)
    plt.close(drawn)
    return page


@contextlib.contextmanager
def _arguments(*words: str) -> Iterator[None]:
    before, sys.argv = sys.argv, list(words)
    try:
        yield
    finally:
        sys.argv = before


def _key(layout: Layout) -> str:
    # Whatever an example may depend on: scripts, library, configurations, records and weights.
    files = [*Path(__file__).parent.glob("*.py")]
    files += [p for folder in ("book/examples", "configs", "results") for p in (layout.root / folder).rglob("*") if p.is_file()]
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
