"""The worked examples run as they are, the guides' code says what it prints, and every command shown is one that exists."""

import doctest
import re
import shlex
import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest
from micro import ROOT, micro_config

from ternary_lib import cli, examples, pages
from ternary_lib.chapters import Layout
from ternary_lib.cli import build_parser
from ternary_lib.notebooks import list_notebooks
from ternary_lib.training import train

SCRIPTS = sorted((ROOT / "book" / "examples").glob("*.py"))
PAGES = [*sorted((ROOT / "book").glob("*.md")), ROOT / "README.md"]


def fences(path, *languages):
    """The code blocks of a page in these languages; a shell's continued lines are joined."""
    text = re.sub(r" \\\n +", " ", path.read_text(encoding="utf-8"))
    return [body for language, body in re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL) if language in languages]


def shown_commands():
    """Every ``ternary`` and ``python book/examples`` line of the pages."""
    for path in PAGES:
        for block in fences(path, "sh"):
            for line in block.splitlines():
                words = shlex.split(line.replace("…", "x"), comments=True)
                while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                    words.pop(0)
                if words[:1] == ["ternary"] or (words[:1] == ["python"] and words[1].startswith("book/")):
                    yield pytest.param(words, id=f"{path.stem}: {line[:60]}")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_an_example_is_short_and_says_how_to_run_it(script):
    lines = script.read_text(encoding="utf-8").splitlines()
    assert len(lines) < 30
    assert f"python book/examples/{script.name}" in lines[0]


def test_the_four_that_people_look_for():
    assert [path.stem for path in SCRIPTS] == ["basic_training", "coverage_analysis", "latent_space_viz", "transfer_learning"]
    assert {path.stem for path in SCRIPTS} < examples.COMMANDS.keys()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_an_example_runs(script, tmp_path):
    out = examples.run(examples.COMMANDS[script.stem], ROOT, tmp_path / "picture.png")
    assert len(out.strip().splitlines()) >= 1
    check = globals()[f"check_{script.stem}"]
    check(out.splitlines(), tmp_path)


def check_basic_training(lines, folder):
    assert [line.split()[0] for line in lines[1:9]] == list("01234567")
    assert lines[-1].startswith("best validation loss: ") and lines[-1].endswith("in epoch 7")


def check_coverage_analysis(lines, folder):
    found = {tuple(words[:3]): float(words[3].rstrip("%")) for words in map(str.split, lines[3:])}
    assert len(found) == 12
    for name in "AB":
        assert found["argmax", "trained", name] > 60 > 20 > found["argmax", "untrained", name]
        assert found["categorical", "untrained", name] > 80  # which is why a coverage alone proves nothing


def check_latent_space_viz(lines, folder):
    assert len(lines[0].split(": ")[1].split()) == 16
    assert (folder / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_an_example_s_figure_follows_the_page_and_gives_its_points_away():
    page = examples.figure(ROOT / "book" / "examples" / "latent_space_viz.py", "latent_space_viz", *examples.FIGURES["latent_space_viz"])
    assert 'fill="currentColor"' in page and "data:image/png" in page and len(page) < 1_500_000
    rows = unquote(re.search(r'download="latent-space-viz.csv" href="data:text/csv;charset=utf-8,([^"]*)"', page)[1]).splitlines()
    assert rows[0].startswith("set,") and len(rows) == 1 + 19_683
    assert sum(row.startswith("commutative,") for row in rows) == 729
    assert re.search(r'download="latent-space-viz.svg" href="data:image/svg', page)


def check_transfer_learning(lines, folder):
    rows = {tuple(line.split()[:2]): [float(word.rstrip("%")) for word in line.split()[2:]] for line in lines[1:]}
    for name in "AB":
        before, after = rows[name, "before"], rows[name, "fine-tuned"]
        assert after[0] > 5 * before[0] and after[1] > before[1]


def test_a_failing_example_is_named_with_its_last_line(tmp_path):
    with pytest.raises(examples.ExampleError, match=r"^python -c 'raise ValueError\(1\)': ValueError: 1$"):
        examples.run("python -c 'raise ValueError(1)'", tmp_path, tmp_path / "x" / "p.png")


def test_examples_are_run_again_only_when_something_changed(tmp_path, monkeypatch):
    (tmp_path / "book" / "examples").mkdir(parents=True)
    script = tmp_path / "book" / "examples" / "one.py"
    script.write_text("import sys; open(sys.argv[1], 'w').write('drawn'); print('first')")
    monkeypatch.setattr(examples, "COMMANDS", {"one": "python book/examples/one.py {picture}", "other": "python book/examples/absent.py"})
    layout, runs, real = Layout(tmp_path), [], examples.run
    monkeypatch.setattr(examples, "run", lambda *arguments: (runs.append(arguments[0]), real(*arguments))[1])
    examples.make_examples(layout)
    examples.make_examples(layout)
    folder = tmp_path / "book" / "generated" / "examples"
    assert len(runs) == 1 and (folder / "one.txt").read_text() == "first\n" and (folder / "one.png").read_text() == "drawn"
    script.write_text("print('second')")
    examples.make_examples(layout)
    assert len(runs) == 2 and (folder / "one.txt").read_text() == "second\n"
    assert not (folder / "other.txt").exists()


# The guides


@pytest.mark.parametrize("page", [path for path in PAGES if fences(path, "pycon")], ids=lambda path: path.stem)
def test_what_a_guide_shows_below_a_prompt_is_what_comes_out(page):
    source = "\n".join(fences(page, "pycon"))
    test = doctest.DocTestParser().get_doctest(source, {}, page.stem, str(page), 0)
    assert len(test.examples) > 10
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test).failed == 0


def test_a_wrong_output_would_be_noticed():
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", "wrong", 0)
    assert doctest.DocTestRunner().run(test, out=lambda text: None).failed == 1


@pytest.mark.parametrize("words", list(shown_commands()))
def test_a_command_that_is_shown_exists(words):
    if words[0] == "python":
        assert (ROOT / words[1]).is_file()
        return
    parsed = build_parser().parse_args(words[1:])
    for name in ("config", "sweep"):
        if path := getattr(parsed, name, None):
            assert (ROOT / path).is_file(), path


def test_the_commands_of_the_guides_are_the_ones_that_the_build_runs():
    shown = {line.strip() for page in PAGES for block in fences(page, "sh") for line in block.splitlines()}
    assert {command for command in examples.COMMANDS.values() if command.startswith("ternary")} <= shown


@pytest.mark.parametrize("path", [*PAGES, Path(cli.__file__)], ids=lambda path: path.name)
def test_the_run_that_notebooks_make_is_shown_to_be_trained_with_resume(path):
    """Without it the command ends with status 2 once that run exists, as it does after the first notebook."""
    shown = re.findall(r"ternary train --config configs/smoke\.yaml[^\n.]*", path.read_text(encoding="utf-8"))
    assert [command for command in shown if not re.search("--resume|--set|--seed|--run-dir", command)] == []


def test_how_made_names_every_chapter_that_loads_the_run():
    text = (ROOT / "book" / "how_made.md").read_text(encoding="utf-8").split("**Trained or loaded.**")[1].split("- **")[0]
    loads = {path.stem for path in list_notebooks() if "train(cfg, run_dir or default_run_dir(cfg)" in path.read_text(encoding="utf-8")}
    assert set(re.findall(r"notebooks/(\w+)`", text)) == loads and len(loads) > 5


def test_the_guides_say_what_is_recorded_and_no_more(tmp_path, monkeypatch):
    records = sorted((ROOT / "results" / "sweeps" / "guide").glob("*.json"))
    (tmp_path / "sweeps" / "guide").mkdir(parents=True)
    shutil.copy(records[0], tmp_path / "sweeps" / "guide")
    monkeypatch.setenv("TERNARY_RESULTS", str(tmp_path))
    found = pages.recorded_runs(ROOT / "configs" / "sweeps")
    assert {name: one["recorded"] for name, one in found.items() if one["recorded"]} == {"guide": 1}
    assert found["guide"]["runs"] == len(records)
    named = re.findall(r"\{value\}`sweeps\.([\w.]+)`", (ROOT / "book" / "guide_tuning.md").read_text(encoding="utf-8"))
    assert named and all(found[name][key] >= 0 for name, key in (one.split(".") for one in named))


def test_the_guide_explains_every_column_of_the_history(tmp_path):
    run = train(micro_config(), tmp_path / "run", progress=False)
    text = (ROOT / "book" / "guide_training.md").read_text(encoding="utf-8").split("(history-columns)=")[1]
    table, terms = text.split("TERM is one of")
    names = re.findall(r"`([^`]+)`", "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `")))
    terms = re.findall(r"`([^`]+)`", terms.split("\n")[0])
    known = {name.replace("TERM", term) for name in names for term in terms if "…" not in name}
    known |= {f"b.{name[2:]}" for name in known if name.startswith("a.")}
    patterns = [re.escape(name).replace("MODE", "(argmax|categorical|expectation)").replace("BUDGET", r"\d+") for name in known]
    unexplained = [column for column in run.history if not any(re.fullmatch(p, column) for p in patterns)]
    unknown = [name for name, p in zip(known, patterns, strict=True) if not any(re.fullmatch(p, column) for column in run.history)]
    assert unexplained == [] and unknown == []


def test_the_guide_s_own_configuration_trains(tmp_path):
    """The YAML that a reader is told to write is one that is accepted."""
    from ternary_lib import load_config

    (block,) = (body for body in fences(ROOT / "book" / "guide_training.md", "yaml") if "extends" in body)
    (tmp_path / "mine.yaml").write_text(block)
    config = load_config(tmp_path / "mine.yaml")
    assert (config.name, config.schedules.tau_a.boost, config.schedules.total_epochs) == ("hotter", 0.9, 8)


def test_the_tuning_guide_s_sweep_keeps_choosing_and_reporting_apart():
    from ternary_lib import sweeps

    tasks = sweeps.load_sweep("configs/sweeps/guide.yaml")
    found = sweeps.recorded(tasks)
    assert len(found) == len(tasks) == 22
    seeds = {name: {r["seed"] for r in found if r["variant"] == name} for name in {r["variant"] for r in found}}
    assert all({100, 101, 102} <= mine for mine in seeds.values())
    reported = {name for name, mine in seeds.items() if {0, 1, 2, 3, 4} <= mine}
    score = dict.fromkeys(seeds, 0.0)
    for record in found:
        if record["seed"] >= 100:
            score[record["variant"]] += sum(record["final"][p]["exact_validation"] for p in "ab")
    assert reported == set(sorted(score, key=score.get)[-2:])


def test_a_recorded_run_of_the_tuning_guide_is_made_again(tmp_path):
    """As the guide says: another store, one run; the same figures but for the last bits of another processor."""
    from ternary_lib import sweeps

    (task,) = sweeps.select(sweeps.load_sweep("configs/sweeps/guide.yaml"), ["rate_quarter"], [102])
    (again,) = sweeps.run_sweep([task], tmp_path, jobs=1, progress=False)
    recorded = sweeps.recorded([task])[0]
    assert again["final"]["b"]["exact_validation"] == pytest.approx(recorded["final"]["b"]["exact_validation"], abs=0.05)
    assert sweeps.recorded([task], tmp_path) == [again]

