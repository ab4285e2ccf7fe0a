"""The yardstick does the same work as the library; ratios are taken side by side and kept; no time is ever judged."""

import json
import math
import os
import re
from pathlib import Path

import pytest
import torch
from micro import micro_config

from benchmarks import plain, ratios, roofline, scaling, stacked
from ternary_lib import coverage
from ternary_lib.config import PROJECT_ROOT, ModelConfig
from ternary_lib.control import Controller
from ternary_lib.losses import LossBreakdown
from ternary_lib.model import TernaryVAE
from ternary_lib.operations import NUM_OPERATIONS, all_operations
from ternary_lib.randomness import stream
from ternary_lib.records import read_json
from ternary_lib.step import STEP_COLUMNS, Batch, Dials, Step

pytestmark = pytest.mark.usefixtures("one_thread")
CONFIG = micro_config()
ROW = {"what", "goal", "at_most", "unit", "ours", "theirs", "ratio", "median", "low", "high", "note"}
HEADER = ["library_commit", "versions", "hardware", "started", "trials", "threads", "rows", "floor", "roofline", "scaling"]


def job(*wanted, trials=1):
    return ratios.Job(CONFIG, trials, draws=2_000, steps=2, quick=True, wanted=frozenset(wanted))


# --- the yardstick -------------------------------------------------------------------------------------------------


def both_sides(seed=5):
    """The plain trainer and the library's step with the same initial weights, and the controls of the first epoch."""
    model = TernaryVAE(CONFIG.model, stream(seed, "weights"))
    step = Step(CONFIG)
    state = step.initial_state([model])
    controls = Controller(CONFIG, model.statenet).begin_epoch(3, None)  # phase 4: every schedule has moved
    loop = plain.PlainTrainer(CONFIG, model)
    loop.optimizer.param_groups[0]["lr"] = controls.learning_rate_applied
    return loop, step, state, controls


def test_steps_of_the_yardstick_equal_the_librarys():
    """The same weights, batches and noise: every loss term, both gradient norms, their averages and the weights after three steps."""
    loop, step, state, controls = both_sides()
    size, latent = CONFIG.training.batch_size, CONFIG.model.latent_dim
    for number, x in enumerate(all_operations()[: 3 * size].split(size)):
        torch.manual_seed(number)
        noise = torch.stack([torch.randn(size, latent), torch.randn(size, latent)])  # A's first, as the model draws them
        row = step(state, Batch(x[None].float(), x[None] + 1, noise[None], torch.zeros(1, 0, latent)), Dials.of([controls]))[0]
        torch.manual_seed(number)
        theirs = loop.step(x, controls)
        ours = dict(zip(STEP_COLUMNS, row.tolist(), strict=True))
        assert {name: ours[name] for name in LossBreakdown._fields} == pytest.approx(theirs, rel=2e-5, abs=2e-6)
        assert state.norms[0].tolist() == pytest.approx(loop.norms, rel=1e-4)
        if number == 0:  # nothing averaged yet
            assert [ours["grad_norm_a"], ours["grad_norm_b"]] == pytest.approx(loop.norms, rel=1e-5)
    torch.testing.assert_close(state.theta[0], step.flatten(dict(loop.model.named_parameters())), rtol=1e-3, atol=2e-5)


def test_an_epoch_of_the_yardstick_trains_and_validates():
    loop, _, _, controls = both_sides()
    means, checks = loop.epoch(controls)
    assert set(means) == set(checks) == set(LossBreakdown._fields)
    assert all(map(math.isfinite, [*means.values(), *checks.values()]))
    assert means["ce_b"] < 9 * math.log(3) + 0.1


@pytest.mark.parametrize("mode", coverage.MODES)
def test_the_yardstick_counts_what_a_uniform_generator_finds(mode):
    """The tertile decoder's cells are equal, so its coverage is known, with its spread."""
    n, cells = 20_000, NUM_OPERATIONS
    torch.manual_seed(1)
    found = plain.coverage(coverage.tertile_decoder, n, mode, plain.count_indices)
    missing = math.exp(-n / cells)
    deviation = math.sqrt(cells * missing * (1 - (1 + n / cells) * missing))
    assert abs(found - cells * coverage.uniform_coverage(n)) < 4 * deviation


@pytest.mark.parametrize("mode", ["argmax", "expectation"])
def test_the_yardstick_decodes_what_the_library_decodes(mode):
    """The same draws, up to 4,096 of them, through both: the same operations."""
    decoder = TernaryVAE(ModelConfig(), stream(3, "weights")).pathway_b.decoder
    torch.manual_seed(2)
    z = torch.randn(4_000, 16)
    with torch.no_grad():
        ours = coverage.decode_indices(decoder(z), (mode,))[mode]
    torch.manual_seed(2)
    kept = []
    plain.coverage(decoder, 4_000, mode, lambda values: kept.append(values) or 0)
    theirs = ((kept[0] + 1) * plain.POWERS).sum(1)
    assert (ours == theirs).float().mean() > 0.999  # a tie may fall either way
    assert plain.count_indices(kept[0]) == plain.count_set(kept[0]) == coverage.distinct(theirs)


def test_evaluation_covers_both_pathways_in_every_mode():
    found = plain.evaluate(TernaryVAE(ModelConfig(), stream(3, "weights")), 500)
    assert set(found) == {f"{name}.{mode}" for name in "ab" for mode in coverage.MODES}
    assert all(1 <= number <= 500 for number in found.values())


# --- bookkeeping ---------------------------------------------------------------------------------------------------


def test_sides_take_turns():
    calls = []
    sides = [lambda name=name: calls.append(name) or float(len(calls)) for name in "xyz"]
    values = ratios.alternate(3, *sides)
    assert "".join(calls) == "xyz" + "xyz" + "zyx" + "xyz"  # the first round warms up
    assert values == [[4.0, 9.0, 10.0], [5.0, 8.0, 11.0], [6.0, 7.0, 12.0]]


def test_compiling_within_the_timed_part_is_an_error(monkeypatch):
    programs = iter([1, 2])
    monkeypatch.setattr(ratios, "_programs", lambda: next(programs))
    with pytest.raises(RuntimeError, match="compiled within"):
        ratios.alternate(1, lambda: 1.0)


def test_a_ratio_is_theirs_by_ours():
    row = ratios.row("epoch", [1.0, 2.0, 4.0], [10.0, 10.0, 10.0], "as told")
    assert row["ratio"] == [10.0, 5.0, 2.5]
    assert (row["median"], row["low"], row["high"], row["goal"], row["at_most"]) == (5.0, 2.5, 10.0, 5, False)
    assert set(row) == ROW and row["note"] == "as told"


def test_where_a_bound_is_named_it_is_ours_by_theirs():
    assert ratios.row("seeds10", [6.0, 9.0], [2.0, 2.0])["ratio"] == [3.0, 4.5]


def test_a_value_may_stand_alone():
    row = ratios.row("memory", [500.0, 510.0])
    assert (row["ratio"], row["theirs"], row["median"]) == ([500.0, 510.0], [], 505.0)
    assert ratios.line("rows", "memory", row).startswith("memory")


def test_memory_is_told_in_millions_of_bytes():
    assert ratios.high_water("Name:\tpython\nVmPeak:\t 9000000 kB\nVmHWM:\t  683594 kB\n") == pytest.approx(700.0, abs=1e-3)


def test_work_of_others_is_told_in_cores():
    others = ratios.OtherWork()
    sum(range(2_000_000))
    assert 0 <= others.cores() <= os.cpu_count() + 1


def test_every_goal_of_the_project_has_its_row():
    goals = {key: (kind.goal, kind.at_most) for key, kind in ratios.ROWS.items() if kind.goal is not None}
    assert goals == {
        "epoch": (5, False),
        "steps_pythae_a": (10, False),
        "steps_pythae_b": (10, False),
        "count_set": (50, False),
        "coverage_floor_a": (3, True),
        "coverage_floor_b": (3, True),
        "seeds10": (3, True),
        "help": (0.5, True),
        "memory": (700, True),
    }
    assert ratios.ROWS.keys() <= set(ratios.KEYS)


def test_no_benchmark_asserts_anything():
    for path in Path(ratios.__file__).parent.glob("*.py"):
        assert not re.search(r"^\s*assert\b", path.read_text(encoding="utf-8"), re.MULTILINE), path


# --- the record ----------------------------------------------------------------------------------------------------


@pytest.fixture
def stand_ins(monkeypatch):
    """Groups that measure nothing: two that work, one without its package, one that breaks."""
    written = {"trial": 0.0}

    def works(job):
        written["trial"] += 1
        yield "rows", "epoch", ratios.row("epoch", [1.0], [written["trial"]])
        yield "rows", "epoch_set", ratios.row("epoch_set", [1.0], [9.0])

    def machine(job):
        yield "roofline", "peak_gflops_one", 77.0

    def missing(job):
        raise ModuleNotFoundError("No module named 'pythae'")
        yield

    groups = {"works": (("epoch", "epoch_set"), works), "machine": (("roofline",), machine), "missing": (("steps_pythae_a",), missing)}
    monkeypatch.setattr(ratios, "GROUPS", list(groups.values()))
    monkeypatch.setattr(ratios, "KEYS", ["epoch", "epoch_set", "roofline", "steps_pythae_a"])
    return groups


def run(path, *more):
    status = ratios.main(["--trials", "1", "--output", str(path), *more])
    return status, json.loads(path.read_text(encoding="utf-8"))


def test_a_record_holds_what_the_book_reads(stand_ins, tmp_path, capsys):
    status, record = run(tmp_path / "r.json")
    assert status == 0
    assert list(record) == HEADER
    assert all(set(row) - {"other_load"} == ROW for row in record["rows"].values())
    assert record["roofline"] == {"peak_gflops_one": 77.0}
    skipped = record["rows"]["steps_pythae_a"]
    assert (skipped["median"], skipped["ratio"], skipped["note"]) == (None, [], "not measured: No module named 'pythae'")
    out, err = capsys.readouterr()
    assert out.splitlines()[0].startswith("epoch ") and len(out.splitlines()) == 3
    assert "pythae" in err


def test_only_adds_to_the_record(stand_ins, tmp_path):
    path = tmp_path / "r.json"
    run(path)
    _, record = run(path, "--only", "epoch")
    assert record["rows"]["epoch"]["ratio"] == [2.0] and record["rows"]["epoch_set"]["ratio"] == [9.0]
    assert record["roofline"] == {"peak_gflops_one": 77.0}


def test_a_record_says_which_of_it_was_measured_again(stand_ins, tmp_path, monkeypatch):
    """What was not measured again keeps the commit, the machine and the time it was measured at."""
    path = tmp_path / "r.json"
    _, first = run(path)
    monkeypatch.setattr(ratios.records, "library_commit", lambda: "another")
    run(path, "--only", "epoch")
    _, record = run(path, "--only", "roofline")
    assert {name: record[name] for name in HEADER[:6]} == {name: first[name] for name in HEADER[:6]}
    assert [again["keys"] for again in record["amended"]] == [["epoch"], ["roofline"]]
    assert {again["library_commit"] for again in record["amended"]} == {"another"} != {first["library_commit"]}
    assert set(record["amended"][0]) == {"keys", *HEADER[:6]}


@pytest.mark.parametrize(("name", "value"), [("TERNARY_THREADS", "²"), ("TERNARY_THREADS", "0"), ("TERNARY_DEVICE", "toaster")])
def test_an_unusable_environment_is_one_line_and_status_2(name, value, stand_ins, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(name, value)
    assert ratios.main(["--output", str(tmp_path / "r.json")]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {name}={value}") and err.count("\n") == 1 and not list(tmp_path.iterdir())


def test_a_run_cut_short_keeps_what_it_has(stand_ins, tmp_path, monkeypatch, capsys):
    def interrupted(job):
        raise KeyboardInterrupt
        yield

    path = tmp_path / "r.json"
    monkeypatch.setattr(ratios, "GROUPS", [stand_ins["works"], (("roofline",), interrupted)])
    status, record = run(path)
    assert status == 130 and set(record["rows"]) == {"epoch", "epoch_set"}


def test_what_fails_does_not_replace_what_was_measured(stand_ins, tmp_path, monkeypatch, capsys):
    def broken(job):
        raise ValueError("no clock\nhere")
        yield

    path = tmp_path / "r.json"
    run(path)
    monkeypatch.setattr(ratios, "GROUPS", [(("epoch", "epoch_set"), broken), stand_ins["machine"]])
    status, record = run(path, "--only", "epoch", "roofline")
    assert status == 1 and record["rows"]["epoch"]["ratio"] == [1.0]
    assert capsys.readouterr().err.splitlines()[-1] == "epoch, epoch_set: not measured: no clock here"


@pytest.mark.parametrize("arguments", [["--trials", "0"], ["--output", "/nowhere/at/all.json"], ["--only", "speed"]])
def test_unusable_arguments_are_refused(arguments, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        ratios.main(["--output", str(tmp_path / "r.json"), *arguments])
    assert stopped.value.code == 2


# --- small measurements, end to end ---------------------------------------------------------------------------------


@pytest.fixture
def plain_steps(monkeypatch):
    """Nothing is compiled, and nothing waits for a second core."""
    monkeypatch.setenv("TERNARY_STEP", "plain")
    monkeypatch.setenv("TERNARY_THREADS", "1")


def found(group, *wanted):
    return {(section, key): value for section, key, value in group(job(*wanted))}


def test_coverage_is_measured(monkeypatch):
    model = TernaryVAE(ModelConfig(), stream(3, "weights"))
    monkeypatch.setattr(ratios, "trained", lambda config: model)
    rows = found(ratios.coverage_set) | found(ratios.coverage_floor)
    assert {key for section, key in rows if section == "rows"} == set(ratios.KEYS[2:7])
    assert all(len(value["ratio"]) == 1 and value["ratio"][0] > 0 for (section, _), value in rows.items() if section == "rows")
    assert set(rows["floor", "a"]) == {"every_mode", "forward_and_draws", "draws_one_thread", "argmax_one_thread"}


def test_epochs_are_measured_with_plain_steps(plain_steps):
    rows = found(ratios.epochs, *ratios.EPOCH_SIDES)
    assert set(rows) == {("rows", key) for key in ratios.EPOCH_SIDES}
    assert all(value["ours"][0] > 0 and value["theirs"][0] > 0 for value in rows.values())
    assert "nothing compiled" in rows["rows", "epoch"]["note"]


def test_seeds_are_measured_with_plain_steps(plain_steps):
    rows = found(ratios.seeds, "seeds10_plain")
    assert set(rows) == {("rows", "seeds10_plain")}
    assert rows["rows", "seeds10_plain"]["note"].startswith("plain steps")


def test_curves_have_a_list_of_trials_for_every_x(plain_steps):
    for measurement in (scaling.seeds, scaling.draws, scaling.space):
        for name, curve in measurement(CONFIG, 1, quick=True):
            assert set(curve) == {"x", "label", "unit", "values"}, name
            assert len(curve["values"]) == len(curve["x"]) and all(len(trials) == 1 for trials in curve["values"]), name


# --- the roofline --------------------------------------------------------------------------------------------------


def test_products_of_a_step_are_counted_from_the_layers():
    """Of n weights in all a batch of b needs 2·b·n forward, as much again for their gradient, and once more but for 9 × 256 twice."""
    step = Step(CONFIG)
    weights = sum(p.numel() for name, p in step.skeleton.named_parameters() if name.startswith("pathway_") and name.endswith("weight"))
    batch = CONFIG.training.batch_size
    assert roofline.flops(roofline.step_products(step)) == 2 * batch * (3 * weights - 2 * 9 * 256)


def test_products_multiply_as_autograd_does():
    layer = torch.nn.Linear(3, 5)
    shapes = [(a.shape[0], a.shape[1], b.shape[1]) for a, b in roofline.layer_products(layer, 7, reads_data=False)]
    assert shapes == [(7, 3, 5), (5, 7, 3), (7, 5, 3)]
    assert len(roofline.layer_products(layer, 7, reads_data=True)) == 2


def test_the_optimisers_part_is_the_steps():
    """A step's weights change exactly as by its gradient and ``optimise``."""
    _, step, state, controls = both_sides()
    batch, dials = roofline.draw_batch(CONFIG, 1, 0), Dials.of([controls])
    copy = type(state)(*(t.clone() for t in state))
    gradient, *_ = step._gradient(state, batch, dials)
    step(state, batch, dials)
    with torch.no_grad():
        roofline.optimise(step, copy, gradient, dials)
    assert all(torch.equal(a, b) for a, b in zip(state, copy, strict=True))


def test_parts_add_up_to_the_step():
    times = {
        "matrix products": 1.0,
        "compiled optimiser": 0.4,
        "compiled call": 0.1,
        "compiled step": 2.0,
        "plain optimiser": 1.0,
        "plain step": 4.0,
    }
    parts = roofline.overhead(times, "compiled")
    assert sum(parts.values()) == pytest.approx(2.0) and parts["rest"] == pytest.approx(0.6)
    assert roofline.overhead(times, "plain") == {"matrix products": 1.0, "optimiser and norms": 1.0, "rest": 2.0}


def test_a_roofline_holds_its_points(plain_steps):
    found = dict(roofline.measure(CONFIG, 1, quick=True))
    assert set(found) == {"peak_gflops_one", "peak_gflops_all", "bandwidth_gbs", "bandwidth_cache_gbs", "points", "overhead_plain"}
    assert [point["name"] for point in found["points"]] == ["matrix products", "plain optimiser", "plain step", "decoder A", "decoder B"]
    assert all(point["seconds"] > 0 and point["bytes"] > 0 for point in found["points"])


# --- seeds stacked and alone -----------------------------------------------------------------------------------------


def test_paired_differences_have_their_interval():
    """Differences 1/2, 1/2 and 1: mean 2/3, sd 1/√12, interval ± 4.3027·sd/√3 (Student's t, two degrees of freedom)."""
    row = stacked.compare([{"m": 1.0}, {"m": 2.0}, {"m": 3.0}], [{"m": 1.5}, {"m": 2.5}, {"m": 4.0}])["m"]
    assert (row["alone"], row["together"]) == ([1.0, 2.0, 3.0], [1.5, 2.5, 4.0])
    assert [row["difference"], row["low"], row["high"]] == pytest.approx([2 / 3, 2 / 3 - 4.30265 / 6, 2 / 3 + 4.30265 / 6], rel=1e-5)
    assert (row["sd_alone"], row["sd_together"]) == (pytest.approx(1.0), pytest.approx((19 / 12) ** 0.5))


def test_the_committed_comparison_follows_from_its_values():
    record = read_json(PROJECT_ROOT / "results" / "stacked.json")
    for name, row in record["metrics"].items():
        assert len(row["alone"]) == len(row["together"]) == record["seeds"]
        ones, others = ([{name: value} for value in row[side]] for side in ("alone", "together"))
        assert row == {key: pytest.approx(value, rel=1e-3, abs=1e-9) for key, value in stacked.compare(ones, others)[name].items()}, name


def test_seeds_are_compared_stacked_and_alone(tmp_path, plain_steps):
    rows = stacked.measure(CONFIG, 2, tmp_path)
    top = CONFIG.evaluation.budgets[-1]
    committed = read_json(PROJECT_ROOT / "results" / "stacked.json")["metrics"]
    assert [name.replace(f".{top}", "") for name in rows] == [re.sub(r"\.\d+$", "", name) for name in committed]
    for name, row in rows.items():
        assert all(map(math.isfinite, [*row["alone"], *row["together"], row["low"], row["high"]])), name
    loss = rows["training loss"]
    assert loss["together"] == pytest.approx(loss["alone"], rel=5e-2), "the same seeds, the same data"
    assert loss["alone"][0] != pytest.approx(loss["alone"][1], rel=1e-4)


@pytest.mark.parametrize(
    "arguments", [["--seeds", "1"], ["--seeds", "ten"], ["--output", "/nowhere/at/all.json"], ["--config", "configs/smoek.yaml"]]
)
def test_a_comparison_refuses_bad_input_before_it_trains(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(stacked, "measure", lambda *_: pytest.fail("it trained"))
    try:
        status = stacked.main(["--output", str(tmp_path / "s.json"), *arguments])
    except SystemExit as stopped:
        status = stopped.code
    assert status == 2 and "error: " in capsys.readouterr().err and not list(tmp_path.iterdir())
