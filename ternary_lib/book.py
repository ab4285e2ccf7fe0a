"""Build the book: execute the chapters, fetch the scripts that make it readable offline, render, check every page."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ternary_lib import settings
from ternary_lib.links import check_site
from ternary_lib.notebooks import NotebookError, list_notebooks
from ternary_lib.strict_yaml import one_line, print_error

if TYPE_CHECKING:  # loaded when a book is built, not for `ternary --help`
    from ternary_lib.chapters import Chapter, Layout

SIZES = ("production", "fast", "smoke")

FOOTER = """\
:::{admonition} Take this chapter with you
:class: seealso
{download}`Python script <../generated/{name}.py>` · {download}`stand-alone page <../generated/{name}.html>` ·
{download}`executed notebook <{name}.ipynb>`

With numbers of your own: `ternary notebook {name} -p seed 7`LAUNCH
:::"""
ERROR = re.compile(r"\w*(Error|Exception)\b.*")  # the last line of a traceback
PUBLIC = re.compile(r"https://[\w.-]+(/[\w.~-]+)+")  # no user, no password, no query
BINDER = "https://mybinder.org/v2/git/{repository}/HEAD?urlpath=lab/tree/notebooks/{name}.ipynb"
RENDERING = ".rendering"  # beside _build: pages that are not whole yet
VENDORED_SETTINGS = ("mathjax_path", "nb_ipywidgets_js")  # of _config.yml; without them the network defaults hold


class BookError(RuntimeError):
    """The book could not be built; the message is one line."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``ternary book``."""
    parser.description = "Execute every chapter that changed and build the HTML book."
    parser.add_argument("--size", choices=SIZES, default="production", help="which parameters the chapters get (default: production)")
    parser.add_argument("--output", metavar="DIR", help="the pages go to DIR/_build/html (default: book)")
    parser.add_argument("--only", metavar="CHAPTER", action="append", default=[], help="execute only this chapter; may be repeated")
    parser.add_argument("--strict", action="store_true", help="stop at any warning or fault of the built pages")


def run(args: argparse.Namespace) -> int:
    """``ternary book``: 0 built, 1 a chapter or the build failed; ConfigError for a mistake of the caller's."""
    from ternary_lib.chapters import Layout

    layout = Layout()
    settings.check()
    try:
        print(build(layout, args.size, Path(args.output) if args.output else layout.root / "book", args.only, args.strict))
    except (NotebookError, BookError) as error:
        print_error(error)
        return 1
    return 0


def build(layout: Layout, size: str, output: Path, only: Sequence[str] = (), strict: bool = False) -> str:
    """Build the book at one size into ``output``/_build/html; returns the closing line.

    Raises:
        NotebookError: a chapter failed; nothing of it is in the book.
        BookError: the build failed or, where ``strict``, its pages have faults.
        ConfigError: another build is at work, or the pages cannot be written there.
    """
    from ternary_lib.files import claimed, require_folder

    require_folder(output)
    repository = public_repository(layout.root)
    with claimed(layout.pages):  # two builds would take each other's chapters away
        return _build(layout, size, output, only, strict, repository)


def _build(layout: Layout, size: str, output: Path, only: Sequence[str], strict: bool, repository: str | None) -> str:
    from ternary_lib.chapters import execute_chapters

    started = time.monotonic()
    chapters = execute_chapters(layout, size, only)
    executed = {chapter.name for chapter in chapters}
    if missing := [p.stem for p in list_notebooks(layout.sources) if p.stem not in executed]:
        return f"Executed {', '.join(only)}; no pages yet, as these are not executed at {size} size: {', '.join(missing)}"
    scripts = layout.root / "book" / "_static" / "vendor"
    offline, note = _vendor(scripts)
    prepare(layout, size, chapters, scripts if offline else None, repository)
    site = output / "_build" / "html"
    if render(layout, output, strict):
        faults = check_site(site, offline=offline)
        report(faults, site, strict)
    return f"Built in {time.monotonic() - started:.0f} s: {_shown(site / 'index.html')}{note}"


def _vendor(folder: Path) -> tuple[bool, str]:
    from ternary_lib.vendor import VendorError, vendor

    try:
        if vendor(folder):
            print("Fetched MathJax, RequireJS, the widget manager and Pyodide for reading offline", flush=True)
        return True, " (readable with no network)"
    except VendorError as error:
        return False, f" (its mathematics and widgets need a network to be read: {error})"


def prepare(layout: Layout, size: str, chapters: Sequence[Chapter], scripts: Path | None, repository: str | None = None) -> None:
    """Put everything the pages are rendered from in place: executed copies, downloads, generated pages, settings.

    ``scripts`` is the folder of vendored scripts; None leaves their network defaults. ``repository`` is its public address, if it has one.
    """
    import yaml

    from ternary_lib.chapters import publish_chapters, write_if_changed
    from ternary_lib.downloads import make_downloads
    from ternary_lib.examples import ExampleError, make_examples
    from ternary_lib.pages import write_pages

    publish_chapters(layout, size, footer(repository))
    make_downloads(layout, scripts / "mathjax" / "es5" / "tex-svg.js" if scripts else None)
    write_pages(layout, size, chapters)
    try:
        make_examples(layout)
    except ExampleError as error:
        raise BookError(f"an example failed: {error}") from None
    settings = yaml.safe_load((layout.root / "_config.yml").read_text(encoding="utf-8"))
    sphinx = settings.get("sphinx", {})
    for name, folder in sphinx.get("local_extensions", {}).items():  # these are looked for beside the file itself
        sphinx["local_extensions"][name] = str(layout.root / folder)
    if scripts is None:
        for key in VENDORED_SETTINGS:
            sphinx.get("config", {}).pop(key, None)
    write_if_changed(layout.generated / "_config.yml", yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))


def public_repository(root: Path) -> str | None:
    """The address that anyone can clone: ``TERNARY_REPOSITORY``, else the checkout's origin where it is an https one.

    Raises:
        ConfigError: ``TERNARY_REPOSITORY`` is no https address.
    """
    from ternary_lib.strict_yaml import ConfigError

    if chosen := os.environ.get("TERNARY_REPOSITORY"):
        if not PUBLIC.fullmatch(chosen):
            raise ConfigError(f"TERNARY_REPOSITORY={chosen}: expected an address such as https://github.com/you/book")
        return chosen
    command = ["git", "-C", str(root), "remote", "get-url", "origin"]
    try:
        origin = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return origin if PUBLIC.fullmatch(origin) else None


def footer(repository: str | None) -> str:
    """What closes every chapter: its downloads, the command that runs it, and where the repository is public, a button to Binder.

    Example:
        >>> "mybinder" in footer(None), "git/https%3A%2F%2Fexample.org%2Fbook/HEAD" in footer("https://example.org/book")
        (False, True)
    """
    if repository is None:
        return FOOTER.replace("LAUNCH", "")
    address = BINDER.replace("{repository}", quote(repository, safe=""))
    return FOOTER.replace("LAUNCH", f", or in your browser: [launch it on Binder]({address})")


def render(layout: Layout, output: Path, strict: bool) -> bool:
    """Run Jupyter Book unless the pages are up to date; True if it ran.

    Raises:
        BookError: it failed or, where ``strict``, gave a warning.
    """
    stamp, key = output / "_build" / ".key", site_key(layout)
    if stamp.is_file() and stamp.read_text() == f"{key} {strict}" and (output / "_build" / "html" / "index.html").is_file():
        print("Pages: up to date", flush=True)
        return False
    stamp.unlink(missing_ok=True)
    print("Pages: rendering …", flush=True)
    # Beside the place, from nothing: Sphinx keeps of a render what another may not trust, a pickle, and pages that look new but were
    # not written when it was killed. The old pages stay until the new ones are whole.
    fresh = output / RENDERING
    shutil.rmtree(fresh, ignore_errors=True)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(layout.root)]
    command += ["--path-output", str(fresh), "--config", str(layout.generated / "_config.yml"), "-n", "--keep-going", "-q"]
    command += ["-W"] if strict else []
    try:
        _run(command, layout)
        _put_in_place(fresh / "_build" / "html", output / "_build" / "html")
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    stamp.write_text(f"{key} {strict}")
    return True


def _put_in_place(fresh: Path, site: Path) -> None:
    site.parent.mkdir(parents=True, exist_ok=True)
    if site.exists():
        site.rename(fresh.parent / "old")  # removed with the rest of the folder
    fresh.rename(site)


def _run(command: Sequence[str], layout: Layout) -> None:
    done = subprocess.run(command, cwd=layout.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    lines = done.stdout.splitlines()
    warnings = [line for line in lines if "WARNING" in line or "ERROR" in line]
    if done.returncode and warnings:
        print("\n".join(warnings), file=sys.stderr)
        raise BookError(f"jupyter-book stopped: {len(warnings)} warnings")
    if done.returncode:
        reason = next((line for line in reversed(lines) if ERROR.match(line)), lines[-1] if lines else "it said nothing")
        log = _keep_log(layout.root / "runs" / "jupyter-book.log", done.stdout)
        raise BookError(f"jupyter-book stopped: {one_line(reason)}{log}")
    print("\n".join(warnings), end="\n" if warnings else "", flush=True)


def _keep_log(path: Path, text: str) -> str:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError:  # a full disk is the likeliest reason to be here
        return ""
    return f" (all that it said is in {_shown(path)})"


def site_key(layout: Layout) -> str:
    """SHA-256 of everything the pages are rendered from; docstrings of the library included."""
    book, skipped = layout.root / "book", {"_build", "__pycache__"}
    files = [layout.root / "_toc.yml", *Path(__file__).parent.glob("*.py")]
    files += [path for folder in ("configs", "results/weights") for path in (layout.root / folder).rglob("*") if path.is_file()]  # included
    for path in book.rglob("*"):
        parts = path.relative_to(book).parts
        if path.is_file() and not any(part.startswith(".") or part in skipped for part in parts):
            files.append(path)
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def report(faults: Sequence[str], site: Path, strict: bool) -> None:
    """Print the faults of the built pages.

    Raises:
        BookError: there is one and ``strict`` is set.
    """
    print("\n".join(faults) if faults else "Links: every link and anchor resolves", flush=True)
    if faults and strict:
        (site.parent / ".key").unlink(missing_ok=True)  # so that the next build looks again
        raise BookError(f"the built pages have {len(faults)} faults, listed above")


def _shown(path: Path) -> str:
    return os.path.relpath(path)
