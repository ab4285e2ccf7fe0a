"""Execute the book's chapters, each only when something it depends on has changed."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ternary_lib import notebooks
from ternary_lib.config import PROJECT_ROOT, ConfigError
from ternary_lib.files import remove_half_written, write_atomically
from ternary_lib.records import read_json, write_json
from ternary_lib.terminal import Relay

# Modules that make pages, not results: a change there re-executes nothing.
BUILD_MODULES = {
    "__main__", "book", "chapters", "cli", "downloads", "examples", "links", "live", "notebooks", "pages", "terminal", "vendor",
}  # fmt: skip
PACKAGES = ("torch", "numpy", "matplotlib", "seaborn", "ipywidgets", "pydantic", "papermill", "nbclient", "ipykernel")


@dataclass(frozen=True)
class Layout:
    """Where a book's parts lie under its root folder."""

    root: Path = PROJECT_ROOT

    @property
    def sources(self) -> Path:
        """The source notebooks, outputs stripped."""
        return self.root / "notebooks"

    @property
    def pages(self) -> Path:
        """The executed copies that the book renders."""
        return self.root / "book" / "notebooks"

    @property
    def generated(self) -> Path:
        """What a build writes for the hand-written pages to include."""
        return self.root / "book" / "generated"

    @property
    def failed(self) -> Path:
        """Copies of notebooks that stopped at an error, outside the book."""
        return self.root / "runs" / "failed"

    def store(self, size: str) -> Path:
        """Executed chapters of one size, with their stamps; hidden, so that no build renders them."""
        return self.pages / f".{size}"


@dataclass(frozen=True)
class Chapter:
    """One executed chapter: the key of what it was made from, how long it took, when, and its parameters."""

    name: str
    key: str
    seconds: float
    finished: str
    parameters: dict[str, Any]


def size_parameters(layout: Layout, size: str, name: str) -> dict[str, Any]:
    """Parameters of a chapter at one size: configs/papermill/SIZE.yaml, then NAME.SIZE.yaml beside it where there is one."""
    folder = layout.root / "configs" / "papermill"
    files = [folder / f"{size}.yaml", folder / f"{name}.{size}.yaml"]
    if not files[0].is_file():
        raise ConfigError(f"configs/papermill/{size}.yaml: no such parameter file")
    return notebooks.collect_parameters([str(f) for f in files if f.is_file()], [], [])


def content_key(layout: Layout, source: Path, parameters: dict[str, Any]) -> str:
    """SHA-256 of everything an executed chapter depends on.

    The library enters with its comments and docstrings: chapters show its source.
    """
    import nbformat

    notebook = nbformat.read(source, as_version=4)
    cells = [(c.cell_type, c.source, sorted(c.metadata.get("tags", []))) for c in notebook.cells]
    digest = hashlib.sha256(json.dumps([cells, parameters, _versions()], sort_keys=True, default=str).encode())
    library = Path(__file__).parent
    files = [p for p in library.glob("*.py") if p.stem not in BUILD_MODULES]
    files += [p for folder in ("configs", "results") for p in (layout.root / folder).rglob("*") if p.is_file()]
    for path in sorted(files):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def execute_chapters(layout: Layout, size: str, only: Iterable[str] = ()) -> list[Chapter]:
    """Execute every chapter (or ``only`` those named) that is not up to date, with visible progress.

    Returns the chapters that have an executed copy now; those not named by ``only`` are taken as they are.

    Raises:
        NotebookError: a chapter failed; its copy is under ``runs/failed/``, none is in the book.
        ConfigError: there is no notebook, or a parameter does not fit one.
    """
    sources = notebooks.list_notebooks(layout.sources)
    if not sources:
        raise ConfigError(f"{layout.sources}: no notebooks; the book is built in a checkout of the project")
    wanted = [notebooks.find_notebook(name, layout.sources) for name in only] or sources
    chapters = []
    for number, source in enumerate(sources, 1):
        if source in wanted:
            chapters.append(_chapter(layout, size, source, f"[{number}/{len(sources)}] {source.stem}"))
        elif known := _read_stamp(layout.store(size) / source.name):
            chapters.append(known)
    _remove_strangers(layout, {p.stem for p in sources})
    return chapters


def _chapter(layout: Layout, size: str, source: Path, label: str) -> Chapter:
    executed = layout.store(size) / source.name
    stamp = executed.with_suffix(".json")
    known = _read_stamp(executed)
    parameters = notebooks.check_parameters(source, size_parameters(layout, size, source.stem))
    key = content_key(layout, source, parameters)
    if known is not None and known.key == key:
        print(f"{label}: up to date ({known.seconds:.1f} s when executed, {known.finished})", flush=True)
        return known
    print(f"{label}: executing at {size} size …", flush=True)
    for old in (stamp, executed, layout.pages / source.name):
        old.unlink(missing_ok=True)
    started = time.monotonic()
    relay = Relay(sys.stdout, text=False)  # what cells print is for the page
    notebooks.execute(source, executed, parameters, failed=layout.failed / source.name, cwd=layout.root, stream=relay)
    seconds = round(time.monotonic() - started, 1)
    finished = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    write_json(stamp, {"key": key, "seconds": seconds, "finished": finished, "parameters": parameters})
    print(f"{label}: done in {seconds:.1f} s", flush=True)
    return Chapter(source.stem, key, seconds, finished, parameters)


def _read_stamp(executed: Path) -> Chapter | None:
    try:
        found = read_json(executed.with_suffix(".json"))
        if executed.is_file():
            return Chapter(executed.stem, found["key"], found["seconds"], found["finished"], found["parameters"])
    except (ConfigError, KeyError):
        pass
    return None


def _remove_strangers(layout: Layout, names: set[str]) -> None:
    """Drop executed copies whose source is gone, and what builds that were killed left behind."""
    for path in [*layout.pages.glob("*.ipynb"), *layout.pages.glob(".*/*.ipynb")]:
        if path.stem not in names:
            path.unlink()
    for folder in layout.pages.glob(".*/.running-*"):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (*layout.pages.glob(".*/"), layout.generated):
        remove_half_written(folder)


def publish_chapters(layout: Layout, size: str, footer: str = "") -> None:
    """Copy the executed chapters of one size into the book, without papermill's bookkeeping and with a closing cell.

    ``footer`` is Markdown in which ``{name}`` stands for the chapter's name. Unchanged copies are not rewritten, so
    that Sphinx reads only what changed.
    """
    import nbformat

    for executed in sorted(layout.store(size).glob("*.ipynb")):
        notebook = nbformat.read(executed, as_version=4)
        notebook.metadata.pop("papermill", None)
        for cell in notebook.cells:
            cell.metadata.pop("papermill", None)
            if "injected-parameters" in cell.metadata.get("tags", []):
                cell.id = "injected-parameters"  # papermill draws one at random: the same work is to give the same pages
        if footer:
            notebook.cells.append(nbformat.v4.new_markdown_cell(footer.replace("{name}", executed.stem), id="downloads"))
        write_if_changed(layout.pages / executed.name, nbformat.writes(notebook) + "\n")


def write_if_changed(path: Path, text: str) -> None:
    """Write text unless the file already holds exactly that."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
