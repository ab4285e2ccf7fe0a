"""Building the book: chapters executed when they must be, nothing failed let in, pages rendered and downloads made."""

from __future__ import annotations

import importlib.util
import os
import pickle
import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from ternary_lib import book, chapters, cli, downloads, pages, records, vendor
from ternary_lib.chapters import Layout
from ternary_lib.config import PROJECT_ROOT, ConfigError, config_hash, load_config
from ternary_lib.notebooks import NotebookError
from ternary_lib.operations import NUM_OPERATIONS


def write_chapter(root: Path, name: str, code: str, text: str = "# A chapter\n\nThe bound $9 \\ln 3$.") -> Path:
    """A chapter with one parameter, ``word``, and one more cell."""
    made = new_notebook(
        cells=[
            new_markdown_cell(text, id="title"),
            new_code_cell('word = "small"  # a word', metadata={"tags": ["parameters"]}, id="parameters"),
            new_code_cell(code, id="code"),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    path = root / "notebooks" / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(made, path)
    return path


@pytest.fixture
def layout(tmp_path):
    """A root with one chapter and two sizes."""
    folder = tmp_path / "configs" / "papermill"
    folder.mkdir(parents=True)
    (folder / "smoke.yaml").write_text("word: smoke\n")
    (folder / "fast.yaml").write_text("word: fast\n")
    write_chapter(tmp_path, "01_one", "print(word)")
    return Layout(tmp_path)


def printed(layout: Layout, name: str = "01_one", size: str = "smoke") -> str:
    """What the chapter's last cell printed when it was executed."""
    return nbformat.read(layout.store(size) / f"{name}.ipynb", as_version=4).cells[-1].outputs[0].text


# Chapters


def test_a_chapter_is_executed_once_with_the_parameters_of_its_size(layout, capsys):
    (first,) = chapters.execute_chapters(layout, "smoke")
    assert printed(layout) == "smoke\n"
    assert "[1/1] 01_one: executing" in capsys.readouterr().out
    (again,) = chapters.execute_chapters(layout, "smoke")
    assert again == first and "up to date" in capsys.readouterr().out
    chapters.execute_chapters(layout, "fast")
    assert printed(layout, size="fast") == "fast\n"
    assert chapters.execute_chapters(layout, "smoke") == [first]  # one size does not undo another


def test_a_failing_chapter_never_lands_in_the_book(layout):
    chapters.execute_chapters(layout, "smoke")
    chapters.publish_chapters(layout, "smoke")
    assert (layout.pages / "01_one.ipynb").is_file()
    write_chapter(layout.root, "01_one", "raise ValueError('no such luck')")
    with pytest.raises(NotebookError, match=r"01_one: cell .*raised ValueError: no such luck"):
        chapters.execute_chapters(layout, "smoke")
    assert list(layout.pages.rglob("*.ipynb")) == []
    assert (layout.failed / "01_one.ipynb").is_file()


def test_a_killed_build_leaves_nothing_that_counts(layout):
    leftover = layout.store("smoke") / ".running-abc"
    leftover.mkdir(parents=True)
    (leftover / "01_one.ipynb").write_text("{")
    chapters.execute_chapters(layout, "smoke")
    assert not leftover.exists() and printed(layout) == "smoke\n"


def test_a_chapter_whose_source_is_gone_leaves_the_book(layout):
    write_chapter(layout.root, "02_two", "print(2)")
    chapters.execute_chapters(layout, "smoke", ["01"])
    (layout.pages / "02_two.ipynb").write_text("{}")
    (layout.root / "notebooks" / "02_two.ipynb").unlink()
    chapters.execute_chapters(layout, "smoke")
    assert not (layout.pages / "02_two.ipynb").exists()


def test_a_second_build_is_refused_and_the_first_is_left_alone(layout, holder):
    holder(layout.pages)
    with pytest.raises(ConfigError, match="another process is at work there"):
        book.build(layout, "smoke", layout.root / "book")
    assert [path.name for path in layout.pages.iterdir()] == [".lock"]


def test_a_full_disk_stops_a_build_in_one_line_and_it_goes_on_once_there_is_room(small_disk, monkeypatch, capsys):
    (small_disk / "configs" / "papermill").mkdir(parents=True)
    (small_disk / "configs" / "papermill" / "smoke.yaml").write_text("word: smoke\n")
    write_chapter(small_disk, "01_one", "print(word)")
    write_chapter(small_disk, "02_two", "print('x' * 8_000_000)")
    layout, filler = Layout(small_disk), small_disk / "filler"
    filler.write_bytes(bytes(10 * 2**20))
    monkeypatch.setattr(chapters, "Layout", lambda: layout)
    assert cli.main(["book", "--size", "smoke", "--only", "one", "--only", "two"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "No space left on device" in err
    assert [path.name for path in layout.pages.rglob("*.ipynb")] == ["01_one.ipynb"] and not list(small_disk.rglob(".running-*"))
    filler.unlink()
    assert cli.main(["book", "--size", "smoke", "--only", "one", "--only", "two"]) in (0, 1)  # no pages here to render
    assert "01_one: up to date" in capsys.readouterr().out
    assert printed(layout, "02_two") == "x" * 8_000_000 + "\n"


@pytest.mark.parametrize("output", ["/dev/null", "/dev/null/book"])
def test_a_place_that_no_pages_can_go_to_is_refused_before_a_chapter_is_executed(layout, output):
    with pytest.raises(ConfigError, match=r"cannot be written \(/dev/null is no folder\)"):
        book.build(layout, "smoke", Path(output))
    assert not layout.pages.exists()


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("Traceback (most recent call last):\n  File\nOSError: [Errno 28] No space left", "OSError: [Errno 28] No space left"),
        ("it would not\n", "it would not"),
        ("", "it said nothing"),
    ],
)
def test_a_render_that_stops_says_why_in_one_line(layout, monkeypatch, output, said):
    monkeypatch.setattr(book.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1, output))
    monkeypatch.setattr(book, "site_key", lambda _: "key")
    with pytest.raises(book.BookError, match=re.escape(f"jupyter-book stopped: {said} (all that it said is in ")) as stopped:
        book.render(layout, layout.root / "book", strict=True)
    assert str(stopped.value).count("\n") == 0
    assert (layout.root / "runs" / "jupyter-book.log").read_text() == output


def test_what_sphinx_kept_of_the_last_render_is_not_read(layout, tmp_path):
    """It is a pickle, and may be a stranger's."""
    (layout.root / "book").mkdir()
    (layout.root / "book" / "intro.md").write_text("# Intro\n")
    (layout.root / "_toc.yml").write_text("format: jb-book\nroot: book/intro\n")
    layout.generated.mkdir(parents=True, exist_ok=True)
    (layout.generated / "_config.yml").write_text("title: Small\nonly_build_toc_files: true\n")

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "opened"),)

    for kept in (layout.root / "out" / "_build" / ".doctrees", layout.root / "out" / book.RENDERING / "_build" / ".doctrees"):
        (kept / "book").mkdir(parents=True)
        for path in (kept / "environment.pickle", kept / "book" / "intro.doctree"):
            path.write_bytes(pickle.dumps(Bomb()))
    assert book.render(layout, layout.root / "out", strict=True)
    assert (layout.root / "out" / "_build" / "html" / "book" / "intro.html").is_file()
    assert not (tmp_path / "opened").exists() and not (layout.root / "out" / book.RENDERING).exists()


def test_the_old_pages_stay_until_the_new_ones_are_whole(layout, monkeypatch):
    site = layout.root / "out" / "_build" / "html"
    site.mkdir(parents=True)
    (site / "index.html").write_text("old")
    monkeypatch.setattr(book, "site_key", lambda _: "key")

    def run(command, **_):
        fresh = Path(command[command.index("--path-output") + 1]) / "_build" / "html"
        fresh.mkdir(parents=True)
        (fresh / "index.html").write_text("new")
        assert (site / "index.html").read_text() == "old"
        return subprocess.CompletedProcess(command, status, "it stopped")

    monkeypatch.setattr(book.subprocess, "run", run)
    status = 1
    with pytest.raises(book.BookError, match="it stopped"):
        book.render(layout, layout.root / "out", strict=True)
    assert (site / "index.html").read_text() == "old"
    status = 0
    assert book.render(layout, layout.root / "out", strict=True)
    assert (site / "index.html").read_text() == "new"
    assert sorted(path.name for path in (layout.root / "out").rglob("*")) == [".key", "_build", "html", "index.html"]


def test_only_executes_the_named_chapters_and_then_waits_for_the_others(layout):
    write_chapter(layout.root, "02_two", "raise SystemError")
    line = book.build(layout, "smoke", layout.root / "book", only=["one"])
    assert "02_two" in line and not (layout.root / "book" / "_build").exists()


def test_an_unknown_parameter_of_a_size_is_refused(layout):
    (layout.root / "configs" / "papermill" / "smoke.yaml").write_text("wrod: x\n")
    with pytest.raises(ConfigError, match="did you mean 'word'"):
        chapters.execute_chapters(layout, "smoke")


def test_a_chapter_may_have_parameters_of_its_own(layout):
    (layout.root / "configs" / "papermill" / "01_one.smoke.yaml").write_text("word: own\n")
    chapters.execute_chapters(layout, "smoke")
    assert printed(layout) == "own\n"


def test_the_key_follows_everything_a_chapter_depends_on(layout):
    source = layout.root / "notebooks" / "01_one.ipynb"
    seen = {chapters.content_key(layout, source, {"word": "smoke"})}

    def changed(parameters: dict | None = None) -> bool:
        key = chapters.content_key(layout, source, parameters or {"word": "smoke"})
        new = key not in seen
        seen.add(key)
        return new

    assert changed({"word": "other"})
    notebook = nbformat.read(source, as_version=4)
    notebook.cells[-1].outputs = [nbformat.v4.new_output("stream", text="x")]
    nbformat.write(notebook, source)
    assert not changed()  # an output is no source
    write_chapter(layout.root, "01_one", "print(word, word)")
    assert changed()
    (layout.root / "configs" / "x.yaml").write_text("seed: 1")
    assert changed()
    (layout.root / "results").mkdir()
    (layout.root / "results" / "x.json").write_text("{}")
    assert changed()


def test_published_copies_hold_no_bookkeeping_and_are_left_alone_when_equal(layout):
    chapters.execute_chapters(layout, "smoke")
    chapters.publish_chapters(layout, "smoke", "Take {name}.")
    page = layout.pages / "01_one.ipynb"
    made = nbformat.read(page, as_version=4)
    assert made.cells[-1].source == "Take 01_one."
    assert "papermill" not in made.metadata and all("papermill" not in cell.metadata for cell in made.cells)
    assert str(layout.root) not in page.read_text()
    before = page.stat().st_mtime_ns
    chapters.publish_chapters(layout, "smoke", "Take {name}.")
    assert page.stat().st_mtime_ns == before


# A whole small book


@pytest.fixture
def small_book(layout):
    """A root that can be built: one chapter, one page, the project's own settings."""
    settings = (PROJECT_ROOT / "_config.yml").read_text(encoding="utf-8")
    (layout.root / "_config.yml").write_text(settings, encoding="utf-8")
    (layout.root / "_toc.yml").write_text("format: jb-book\nroot: book/intro\nchapters:\n  - file: book/notebooks/01_one\n")
    (layout.root / "book" / "_ext").mkdir(parents=True)
    for extension in (PROJECT_ROOT / "book" / "_ext").glob("*.py"):
        (layout.root / "book" / "_ext" / extension.name).write_text(extension.read_text(encoding="utf-8"), encoding="utf-8")
    static = layout.root / "book" / "_static"
    static.mkdir()
    for name in ("custom.css", "figures.css", "page.js", "widgets.js", "logo.svg"):
        (static / name).write_bytes((PROJECT_ROOT / "book" / "_static" / name).read_bytes())
    (layout.root / "book" / "references.bib").write_text("")
    (layout.root / "book" / "intro.md").write_text("# Intro\n\nSize {value}`build.size`, {doc}`notebooks/01_one`.\n")
    return layout


@pytest.fixture
def no_npm(monkeypatch):
    """A machine without npm and network."""

    def fail() -> list[str]:
        raise vendor.VendorError("no npm here")

    monkeypatch.setattr(vendor, "_find_npm", fail)


def test_a_book_is_built_once_and_strictly(small_book, no_npm, capsys, monkeypatch):
    monkeypatch.setattr(pages.records, "library_commit", lambda: "0" * 40)  # a commit made meanwhile is a reason to build anew
    output = small_book.root / "out"
    line = book.build(small_book, "smoke", output, strict=True)
    assert "need a network to be read: no npm here" in line  # said in the last line
    site = output / "_build" / "html"
    intro = (site / "book" / "intro.html").read_text(encoding="utf-8")
    assert "Size smoke" in intro and "THEBE_JS_URL" not in intro
    chapter = (site / "book" / "notebooks" / "01_one.html").read_text(encoding="utf-8")
    assert "Take this chapter with you" in chapter
    assert {p.suffix for p in (site / "_downloads").rglob("01_one.*")} == {".py", ".html", ".ipynb"}
    capsys.readouterr()
    book.build(small_book, "smoke", output, strict=True)
    assert "Pages: up to date" in capsys.readouterr().out


def test_bad_references_stop_the_build_and_are_all_named(small_book, no_npm, capsys):
    bad = {"{value}`build.sise`": "build.sise", "{doc}`nowhere`": "nowhere", "{cite}`nobody`": "nobody", "{eq}`none`": "none"}
    (small_book.root / "book" / "intro.md").write_text("# Intro\n\n{doc}`notebooks/01_one`\n\n" + "\n\n".join(bad))
    with pytest.raises(book.BookError, match="warnings"):
        book.build(small_book, "smoke", small_book.root / "out", strict=True)
    error = capsys.readouterr().err
    assert [words for words in bad.values() if words not in error] == []
    assert not (small_book.root / "out" / "_build" / ".key").exists()


def test_a_dead_link_stops_a_strict_build_and_is_looked_at_again(small_book, no_npm, capsys):
    (small_book.root / "book" / "intro.md").write_text('# Intro\n\n{doc}`notebooks/01_one` <a href="nowhere.html">x</a>\n')
    for _ in range(2):
        with pytest.raises(book.BookError, match="1 faults"):
            book.build(small_book, "smoke", small_book.root / "out", strict=True)
        assert "dead link: nowhere.html" in capsys.readouterr().out


def test_the_command_refuses_an_unknown_size(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["book", "--size", "huge"])
    assert caught.value.code == 2 and "huge" in capsys.readouterr().err


# Downloads


@pytest.mark.parametrize(
    ("myst", "plain"),
    [
        ("```{math}\n:label: x\na = b\n```", "$$\na = b \\tag{x}\n$$"),
        ("```{math}\na = b\n```", "$$\na = b\n$$"),
        ("$$\na\n$$ (x-y)\n\nSee {eq}`x-y`.", "$$\na \\tag{x-y}\n$$\n\nSee (x-y)."),
        (":::{note}\nMind.\n:::", "**Note**\n\nMind."),
        (":::{dropdown} Solution\n:open:\nIt is 3.\n:::", "<details><summary>Solution</summary>\n\nIt is 3.\n\n</details>"),
        ("::::{note}\n:::{tip}\nIn.\n:::\n::::", "**Note**\n\n**Tip**\n\nIn."),
        ("(a-label)=\n# Title", "# Title"),
        ("{math}`x^2` and {cite:p}`kingma2014auto`", "$x^2$ and (kingma2014auto)"),
        ("```python\nx = '{a}'\n```", "```python\nx = '{a}'\n```"),
        ("```{code-block} python\nx = 1\n```", "```python\nx = 1\n```"),
    ],
)
def test_myst_becomes_plain_markdown(myst, plain):
    assert downloads.plain_markdown(myst) == plain


def test_a_stand_alone_page_says_where_a_control_stands():
    from nbformat.v4 import new_output

    view = new_output("display_data", {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "FloatSlider"})
    words = new_output("display_data", {"text/markdown": "See {math}`x^2`."})
    book = new_notebook(cells=[new_markdown_cell("(here)=\n# A"), new_code_cell("show()", outputs=[view, words])], metadata={"widgets": {}})
    downloads._stand_alone(book)
    assert "widgets" not in book.metadata and book.cells[0].source == "# A"
    first, second = (output.data for output in book.cells[1].outputs)
    assert list(first) == ["text/markdown"] and "interactive control stands here" in first["text/markdown"]
    assert second["text/markdown"] == "See $x^2$."


# Values


def look_up():
    """The `value` role's function, from the book's own extension."""
    spec = importlib.util.spec_from_file_location("ternary_values", PROJECT_ROOT / "book" / "_ext" / "ternary_values.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.look_up


def test_values_are_found_by_dotted_keys_that_may_hold_dots():
    values = {"a": {"b.c": 1, "b": {"d": 2}}}
    assert look_up()(values, "a.b.c") == 1 and look_up()(values, "a.b.d") == 2
    for missing in ("a.x", "a.b.c.d", "x"):
        with pytest.raises(KeyError):
            look_up()(values, missing)


@pytest.fixture
def record():
    """The record of a two-epoch run, made up."""
    config = load_config("configs/smoke.yaml", {"schedules.total_epochs": 2, "schedules.phases": [1, 1, 1]})
    budget = config.evaluation.budgets[-1]
    history = {"epoch": [0, 1]}
    final, untrained = {}, {}
    for name, counts in (("a", [NUM_OPERATIONS, 9_000]), ("b", [5_000, NUM_OPERATIONS])):
        history |= {f"{name}.coverage.{mode}.{budget}": counts for mode in ("argmax", "expectation")}
        history[f"{name}.exact_all"] = [0.75, 0.5]
        final[name] = {f"coverage.expectation.{budget}": 100, "exact_all": 0.5}
        untrained[name] = {f"coverage.argmax.{budget}": 10, f"coverage.categorical.{budget}": NUM_OPERATIONS}
    return {
        "config": config.model_dump(mode="json"), "history": history, "final": final, "untrained": untrained,
        "seconds": {"total": 90.0}, "best_validation_loss": 1.5, "best_epoch": 1,
    }  # fmt: skip


@pytest.fixture
def made_run(layout):
    """A root whose chapter on training has a configuration, and that run's hashes in its record."""
    config = load_config("configs/smoke.yaml", {}, 5)
    (layout.root / "configs" / "papermill" / "03_training.smoke.yaml").write_text(
        f"config: configs/smoke.yaml\nseed: 5\nrun_dir: {layout.root / 'run'}\n"
    )
    layout.store("smoke").mkdir(parents=True)
    (layout.root / "run").mkdir()
    made = {"config_hash": config_hash(config), "source_hash": records.source_hash()}
    records.write_json(layout.root / "run" / "record.json", made)
    return made


def test_the_run_that_the_chapters_are_about_outlives_its_folder(layout, made_run):
    assert pages.find_record(layout, "fast") == {}, "no configuration is named there"
    assert pages.find_record(layout, "smoke") == made_run
    shutil.rmtree(layout.root / "run")
    assert pages.find_record(layout, "smoke") == made_run


@pytest.mark.parametrize("name", ["config_hash", "source_hash"])
def test_another_run_than_that_of_the_chapters_is_refused(layout, made_run, name):
    records.write_json(layout.root / "run" / "record.json", made_run | {name: "0"})
    with pytest.raises(ConfigError, match="the run that the chapters are about is not there"):
        pages.find_record(layout, "smoke")


def test_the_headline_is_read_from_the_record(record):
    values = pages.headline(record)
    assert (values["epochs"], values["minutes"], values["best_validation_loss"]) == (2, 1.5, 1.5)
    assert values["a"]["coverage"] == pytest.approx(9_000 / 19_683)
    assert (values["a"]["best"], values["a"]["best_epoch"], values["a"]["exact_consolidated"]) == (1.0, 0, 0.75)
    assert (values["a"]["complete_epochs"], values["both_complete_epochs_expectation"]) == (1, 0)
    assert values["b"]["untrained_categorical"] == 1.0
    assert values["uniform"] == pytest.approx(1 - (1 - 1 / 19_683) ** values["budget"])


def test_the_headline_figure_is_the_same_each_time_and_says_what_it_shows(record):
    first = pages.headline_figure(record)
    assert first == pages.headline_figure(record)
    assert "45.72% coverage" in first and 'id="fig-headline"' in first


@pytest.mark.parametrize(
    ("origin", "found"),
    [
        ("https://example.org/someone/book.git", "https://example.org/someone/book.git"),
        ("https://user:secret@example.org/book", None),  # would print a password on every page
        ("git@example.org:someone/book.git", None),
        ("/somewhere/here", None),
        (None, None),
    ],
)
def test_a_button_to_binder_only_where_anyone_can_clone(tmp_path, monkeypatch, origin, found):
    monkeypatch.delenv("TERNARY_REPOSITORY", raising=False)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    if origin:
        subprocess.run(["git", "-C", tmp_path, "remote", "add", "origin", origin], check=True)
    assert book.public_repository(tmp_path) == found
    assert ("mybinder.org" in book.footer(found)) == (found is not None)


def test_the_repository_named_by_hand_goes_first(tmp_path, monkeypatch):
    monkeypatch.setenv("TERNARY_REPOSITORY", "https://example.org/mine")
    assert book.public_repository(tmp_path) == "https://example.org/mine"
    monkeypatch.setenv("TERNARY_REPOSITORY", "javascript:alert(1)")
    with pytest.raises(ConfigError, match="TERNARY_REPOSITORY=javascript"):
        book.public_repository(tmp_path)
