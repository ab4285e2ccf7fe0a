"""Sweeps: every run recorded once, whatever is interrupted, killed or refused."""

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from micro import OVERRIDES, ROOT, command, ternary

from ternary_lib import records, sweeps, tuning
from ternary_lib.cli import main
from ternary_lib.config import ConfigError, config_from_mapping, load_config
from ternary_lib.sweeps import SweepError, Task, condensed, load_sweep, of_configs, repeats, run_sweep, run_task, select, stored, verify

TINY = {key: value for key, value in OVERRIDES.items() if key != "name"}
COMMITTED = sorted((ROOT / "configs" / "sweeps").glob("*.yaml"))


def write_sweep(folder, **changes):
    """A sweep file of four runs that take about a second each."""
    content = {
        "name": "tiny",
        "config": str(ROOT / "configs/smoke.yaml"),
        "set": TINY,
        "seeds": [0, 1],
        "variants": {"full": {}, "random": {"label": "dice", "set": {"statenet.signal": "random"}}},
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(content | changes, allow_unicode=True))
    return path


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A finished sweep: (file, tasks, store, records)."""
    folder = tmp_path_factory.mktemp("sweep")
    path = write_sweep(folder)
    tasks = load_sweep(path)
    return path, tasks, folder / "store", run_sweep(tasks, folder / "store", jobs=2, progress=False)


# --- what a sweep file says ----------------------------------------------------------------------------------------


def test_tasks_are_every_variant_on_every_seed_seed_by_seed(tmp_path):
    variants = {"full": {"seeds": [0, 1, 7]}, "random": {"label": "dice", "set": {"statenet.signal": "random"}, "pathways": ["b"]}}
    tasks = load_sweep(write_sweep(tmp_path, variants=variants))
    assert [(t.variant, t.config.seed) for t in tasks] == [("full", 0), ("random", 0), ("full", 1), ("random", 1), ("full", 7)]
    assert tasks[1].label == "dice" and tasks[0].label == "full"
    assert tasks[1].pathways == ("b",) and tasks[0].pathways == ("a", "b")
    assert tasks[1].config == load_config("configs/smoke.yaml", TINY | {"statenet.signal": "random", "name": "random", "seed": 0})
    assert [t.run for t in select(tasks, ["random"], [1])] == ["random-seed1"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seeds": [0, 1, 0]}, "seeds: each seed is to be given once"),
        ({"variants": {}}, "variants: dictionary should have at least 1 item"),
        ({"variants": {"full": {"lable": ""}}}, "variants.full.lable: unknown key (did you mean 'label'?)"),
        ({"varaints": {}}, "varaints: unknown key (did you mean 'variants'?)"),
        ({"seeds": [-1]}, "seeds.0: input should be greater than or equal to 0"),
        ({"seeds": []}, "seeds: list should have at least 1 item"),
        ({"config": None}, "variants.full: names no config"),
        ({"config": "nowhere.yaml"}, "variants.full: nowhere.yaml: no such configuration file"),
        ({"variants": {"full": {"set": {"statenet.signl": "loss"}}}}, "variants.full: "),
        ({"variants": {"../full": {}}}, "variants.../full"),
        ({"variants": {"full": {"pathways": ["c"]}}}, "variants.full.pathways.0: input should be 'a' or 'b'"),
    ],
)
def test_a_faulty_sweep_is_refused_in_one_line(tmp_path, changes, words):
    with pytest.raises(ConfigError) as caught:
        load_sweep(write_sweep(tmp_path, **changes))
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert str(tmp_path / "tiny.yaml") in str(caught.value)


def test_selecting_what_is_not_there_is_refused(tmp_path):
    tasks = load_sweep(write_sweep(tmp_path))
    with pytest.raises(ConfigError, match=r"randm: no variant of tiny .did you mean 'random'"):
        select(tasks, ["randm"])
    with pytest.raises(ConfigError, match="no run has one of the seeds 5, 6"):
        select(tasks, seeds=[5, 6])


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_every_committed_sweep_loads_and_states_what_its_variants_change(path):
    tasks = load_sweep(path)
    assert len({t.run for t in tasks}) == len(tasks)
    configs = {}
    for task in tasks:
        configs.setdefault(task.variant, task.config.model_copy(update={"name": "", "seed": 0}).model_dump_json())
    assert len(set(configs.values())) == len(configs), "two variants are the same experiment"
    assert all(task.label != task.variant for task in tasks), "a reader needs a label"


ALONE = "balance.lambda_bounds balance.lambdas balance.scale_bounds schedules.rho.consolidated schedules.rho.final schedules.rho.start"
CHANGED = {  # every key in which a variant of the ablations differs from the full system
    "full": "",
    "published": "balance.initial_norm balance.lambda_step balance.momentum balance.norm_after_clip loss.latent_entropy loss.repulsion "
    "schedules.lambda_3.amplitude schedules.lambda_3.base schedules.lambda_3.offset schedules.lambda_3.period "
    "schedules.rho.gate schedules.rho.ramp_epochs schedules.tau_a.offset statenet.signal",
    "rho_0": "schedules.rho.consolidated schedules.rho.final schedules.rho.start",
    "stop_gradient_off": "model.stop_gradient",
    "gate_fall_back": "schedules.rho.gate",
    "rho_0.3": "schedules.rho.final schedules.rho.start",
    "a_alone": ALONE,
    "b_alone": ALONE,
    "b_wide": f"{ALONE} model.decoder_b_width",
    "tau_1": "schedules.tau_a.amplitude schedules.tau_a.boost schedules.tau_a.end schedules.tau_b.boost schedules.tau_b.end "
    "schedules.tau_b.start",
    "no_boost": "schedules.phases",
    "beta_0.1": "schedules.beta.end schedules.beta.lag schedules.beta.start",
    "beta_0.3": "schedules.beta.end schedules.beta.lag schedules.beta.start",
    "beta_0.6": "schedules.beta.end schedules.beta.lag",
    "beta_1.0": "schedules.beta.lag schedules.beta.start",
    "no_alignment": "balance.lambda_bounds balance.lambdas",
    "alignment_hard": "loss.latent_entropy",
    "no_repulsion": "loss.repulsion_weight",
    "no_output_entropy": "loss.output_entropy_weight",
    "no_balance": "balance.scale_bounds",
    "statenet_off": "statenet.lambda_scale statenet.lr_scale statenet.signal",
    "statenet_detached": "statenet.signal",
    "statenet_hypergradient": "statenet.signal",
    "statenet_hypergradient_free": "statenet.penalty statenet.signal",
    "statenet_random": "statenet.signal",
}


def leaves(mapping, prefix=""):
    for key, value in mapping.items():
        yield from leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]


def test_variants_of_the_ablations_change_what_they_say_and_keep_the_recipe():
    production = dict(leaves(load_config("configs/ternary_v5_5.yaml").model_dump(mode="json", exclude_none=True)))
    tasks = {t.variant: t for t in load_sweep("configs/sweeps/ablations.yaml") if t.config.seed == 0 and t.variant not in tuning.LABELS}
    how = {"name", "seed", "training.checkpoint_every"} | {key for key in production if key.startswith("evaluation.")}
    for name, task in tasks.items():
        ours = dict(leaves(task.config.model_dump(mode="json", exclude_none=True)))
        assert {key for key, value in ours.items() if key not in how and value != production.get(key)} == {*CHANGED[name].split()}, name
        assert ours["evaluation.budgets"] == production["evaluation.budgets"]
    assert {*tasks} == {*CHANGED}
    assert len(tasks["full"].config.schedules.phases) == 3
    assert sum(t.variant == "full" for t in load_sweep("configs/sweeps/ablations.yaml")) == 10


def test_configurations_of_one_name_are_told_apart(tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(f"extends: {ROOT}/configs/smoke.yaml\nstatenet: {{signal: none}}\n")
    tasks = of_configs(["configs/smoke.yaml", other], [0, 1], {"data.train": 1536})
    assert len({t.variant for t in tasks}) == 2 and len(tasks) == 4
    assert all(t.config.data.train == 1536 for t in tasks)


# --- what is recorded ----------------------------------------------------------------------------------------------


def test_every_run_is_recorded_once_with_all_that_is_needed(swept):
    _, tasks, store, found = swept
    assert sorted(p.name for p in (store / "tiny").iterdir()) == sorted(f"{t.run}.json" for t in tasks)  # no leftovers
    for task, record in zip(tasks, found, strict=True):
        assert (record["variant"], record["seed"], record["sweep"]) == (task.variant, task.config.seed, "tiny")
        assert {"config", "config_hash", "library_commit", "versions", "device", "hardware", "seconds", "final", "history"} <= set(record)
        assert record["numbers"] == records.NUMBERS
        assert repeats(record, task.config)


def test_a_finished_sweep_runs_nothing_again(swept, monkeypatch):
    _, tasks, store, found = swept
    monkeypatch.setattr(sweeps, "_run_all", lambda *_: pytest.fail("a recorded run was made again"))
    assert run_sweep(tasks, store, progress=False) == found


def test_only_what_changed_is_made_again(swept, tmp_path):
    _, tasks, _, found = swept
    store = tmp_path / "store"
    for task, record in zip(tasks, found, strict=True):
        records.write_json((store / "tiny").mkdir(parents=True, exist_ok=True) or store / "tiny" / f"{task.run}.json", record)
    changed = load_sweep(write_sweep(tmp_path, variants={"full": {}, "random": {"set": {"statenet.signal": "none"}}}))
    assert [stored(t, store) is None for t in changed] == [False, True, False, True]


def test_a_record_of_another_experiment_is_put_aside_not_written_over(swept, tmp_path):
    _, tasks, _, found = swept
    task, record = tasks[0], found[0]
    path = tmp_path / "tiny" / f"{task.run}.json"
    for number in (1, 2):
        records.write_json(path.parent.mkdir(exist_ok=True) or path, record | {"numbers": -number})
        sweeps._store(task, record, tmp_path)
        assert stored(task, tmp_path) == record
        assert records.read_json(path.with_name(f"{task.run}.earlier-{number}.json"))["numbers"] == -number
    sweeps._store(task, record, tmp_path)  # the same experiment, as when a cluster gives a run out again
    assert sorted(p.name for p in path.parent.iterdir()) == [f"{task.run}.earlier-1.json", f"{task.run}.earlier-2.json", path.name]


@pytest.mark.parametrize(
    "change",
    [
        {"numbers": records.NUMBERS - 1},
        {"versions": {"torch": "1.0.0"}},
        {"versions": None},
        {"config": {"name": "x", "unknown": 1}},
        {"config": None},
    ],
)
def test_a_record_of_other_numbers_is_no_record(swept, change):
    _, tasks, _, found = swept
    assert repeats(found[0], tasks[0].config)
    assert not repeats(found[0] | change, tasks[0].config)


def test_an_option_added_since_changes_no_record_and_a_changed_value_does(swept):
    _, tasks, _, found = swept
    older = json.loads(json.dumps(found[0]))
    del older["config"]["model"]["stop_gradient"], older["config"]["evaluation"]["every"]  # as if recorded before they existed
    assert repeats(older, tasks[0].config)
    older["config"]["loss"]["repulsion_sigma"] = 0.4
    assert not repeats(older, tasks[0].config)


def test_records_keep_nine_digits_and_the_configuration_whole(swept):
    _, tasks, _, found = swept
    assert config_from_mapping(found[0]["config"]) == tasks[0].config
    as_it_was = {"config": {"pi": 3.141592653589793}, "untrained": {}}
    kept = condensed(as_it_was | {"final": {"a": {"x": 1 / 3, "missed": [1]}}, "history": {"h": [2 / 3]}})
    assert kept == as_it_was | {"final": {"a": {"x": 0.333333333}}, "history": {"h": [0.666666667]}}


def test_a_recorded_run_gives_its_numbers_again_and_a_false_record_is_found_out(swept, tmp_path):
    _, tasks, _, found = swept
    store = tmp_path / "store"
    (store / "tiny").mkdir(parents=True)
    older, false = (json.loads(json.dumps(record)) for record in found[:2])
    del older["final"]["a"]["efficiency"]  # measured only since it was recorded
    false["final"]["b"]["rate"] += 1e-6
    for task, record in ((tasks[0], older), (tasks[1], false)):
        records.write_json(store / "tiny" / f"{task.run}.json", record)
    (same, _), (other, text) = verify(tasks[:2], store, jobs=1, progress=False)
    assert same and not other and "other final" in text


# --- what goes wrong -----------------------------------------------------------------------------------------------


def test_a_failed_run_is_recorded_the_others_go_on_and_the_sweep_fails(tmp_path):
    store, tasks = tmp_path / "store", load_sweep(write_sweep(tmp_path, seeds=[0]))
    in_its_way = store / "tiny" / f"random-seed0-{records.run_key(tasks[1].config)}.run"
    in_its_way.parent.mkdir(parents=True)
    in_its_way.write_text("a file where the run wants its folder")
    with pytest.raises(SweepError, match=r"1 of 2 runs failed .random seed 0.; the first: ConfigError: .*cannot be written"):
        run_sweep(tasks, store, jobs=1, progress=False)
    failure = json.loads((store / "tiny/random-seed0.failed.json").read_text())
    assert "cannot be written" in failure["error"] and "Traceback" in failure["traceback"]
    assert stored(tasks[0], store) and not stored(tasks[1], store)
    in_its_way.unlink()
    run_sweep(tasks, store, jobs=1, progress=False)
    assert sorted(p.name for p in (store / "tiny").iterdir()) == ["full-seed0.json", "random-seed0.json"]


def session(leader):
    """The processes of a session."""
    found = []
    for pid in [int(path.name) for path in Path("/proc").glob("[0-9]*")]:
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            found += [pid] if os.getsid(pid) == leader else []
    return found


def wait_for(condition, seconds=120):
    """Whether the condition comes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_a_killed_sweep_goes_on_and_ends_with_the_same_numbers(swept, tmp_path):
    _, tasks, _, found = swept
    path, store = write_sweep(tmp_path), tmp_path / "store"
    arguments = ("sweep", path, "--output", store, "--jobs", "2", "--quiet")
    first = subprocess.Popen(command(*arguments), cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE)
    assert wait_for(lambda: list(store.glob("tiny/*.json")) or list(store.glob("tiny/*.run/last.safetensors")))
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    done = ternary(*arguments)
    assert done.returncode == 0, done.stderr
    again = [stored(task, store) for task in tasks]
    assert [r["weights_sha256"] for r in again] == [r["weights_sha256"] for r in found]
    assert [r["final"] for r in again] == [r["final"] for r in found]
    assert sorted(p.name for p in (store / "tiny").iterdir()) == sorted(f"{t.run}.json" for t in tasks)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no /proc to look for processes in")
def test_the_processes_of_a_killed_sweep_end_with_it_and_another_can_go_on_at_once(swept, tmp_path):
    path, store = write_sweep(tmp_path), tmp_path / "store"
    arguments = ("sweep", path, "--output", store, "--jobs", "2", "--quiet")
    first = subprocess.Popen(command(*arguments), cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
    assert wait_for(lambda: list(store.glob("tiny/*.run/last.safetensors")))
    second = ternary(*arguments)
    assert second.returncode == 2 and "another process is at work there" in second.stderr and second.stderr.count("\n") == 1
    first.kill()  # the sweep alone, not its processes
    first.wait()
    assert wait_for(lambda: not session(first.pid), 20), "a process goes on"
    done = ternary(*arguments)
    assert done.returncode == 0, done.stderr


def test_a_killed_worker_process_stops_the_sweep_with_one_line_and_nothing_recorded_is_lost(tmp_path):
    store = tmp_path / "store"
    path = write_sweep(tmp_path, seeds=[0, 1, 2])
    arguments = command("sweep", path, "--output", store, "--jobs", "2", "--quiet")
    sweep = subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert wait_for(lambda: list(store.glob("tiny/*-seed0.json")))
    workers = subprocess.run(["pgrep", "-f", "-P", str(sweep.pid), "popen_loky"], capture_output=True, text=True).stdout.split()
    for worker in workers:
        os.kill(int(worker), signal.SIGKILL)
    _, errors = sweep.communicate(timeout=120)
    assert workers and sweep.returncode == 1
    assert "was killed" in errors and "Traceback" not in errors
    assert list(store.glob("tiny/*-seed0.json"))


# --- on a cluster --------------------------------------------------------------------------------------------------


def test_on_a_cluster_a_killed_worker_loses_and_doubles_nothing(swept, tmp_path):
    distributed = pytest.importorskip("distributed")
    _, tasks, _, found = swept
    store, killed = tmp_path / "store", []
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        pids = distributed.Client(cluster).run(os.getpid)
        real = sweeps._store

        def store_and_kill(task, record, root):
            real(task, record, root)
            if not killed:
                killed.append(next(iter(pids.values())))
                os.kill(killed[0], signal.SIGKILL)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(sweeps, "_store", store_and_kill)
            again = run_sweep(tasks, store, scheduler=cluster.scheduler_address, progress=False)
    assert killed
    assert [r["weights_sha256"] for r in again] == [r["weights_sha256"] for r in found]
    assert sorted(p.name for p in (store / "tiny").iterdir()) == sorted(f"{t.run}.json" for t in tasks)


def test_checkpoints_of_a_recorded_run_are_cleared_away_and_those_of_a_similar_name_stay(swept, tmp_path):
    _, tasks, _, found = swept
    for task, record in zip(tasks, found, strict=True):
        (tmp_path / "tiny").mkdir(exist_ok=True)
        records.write_json(tmp_path / "tiny" / f"{task.run}.json", record)
    left = tmp_path / "tiny" / f"{tasks[0].run}-{records.run_key(tasks[0].config)}.run"  # by a kill just after the record was written
    similar = tmp_path / "tiny" / f"{tasks[0].run}-more-seed3-{records.run_key(tasks[0].config)}.run"
    another = tmp_path / "tiny" / f"{tasks[0].run}-0123456789.run"  # of the same name and other numbers: perhaps at work
    (tmp_path / "tiny" / ".lock").touch()
    for folder in (left, similar, another):
        folder.mkdir()
        (folder / "last.safetensors").write_bytes(b"x")
    run_sweep(tasks, tmp_path, progress=False)
    assert similar.is_dir() and another.is_dir() and not left.exists() and not (tmp_path / "tiny" / ".lock").exists()


def test_a_record_of_another_variant_is_refused(swept, tmp_path):
    _, tasks, _, found = swept
    (tmp_path / "tiny").mkdir()
    records.write_json(tmp_path / "tiny" / f"{tasks[0].run}.json", found[0] | {"variant": "another"})
    for read in (sweeps.stored, lambda task, root: sweeps.recorded([task], root)):
        with pytest.raises(ConfigError, match=f"no record of this sweep: variant: expected '{tasks[0].variant}'"):
            read(tasks[0], tmp_path)


def test_nothing_recorded_is_nothing_to_verify(swept, tmp_path):
    done = ternary("sweep", swept[0], "--output", tmp_path, "--verify", "1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: none of these runs is recorded, so there is nothing to verify\n"


def test_what_is_verified_was_recorded_on_this_kind_of_processor_where_any_was(swept, tmp_path, monkeypatch, capsys):
    file, tasks, _, found = swept
    elsewhere = {"hardware": found[0]["hardware"] | {"cpu": "another kind"}}
    (tmp_path / "tiny").mkdir()
    for task, record in zip(tasks, found, strict=True):
        records.write_json(tmp_path / "tiny" / f"{task.run}.json", record | elsewhere)
    asked = []
    monkeypatch.setattr(sweeps, "verify", lambda chosen, *_: asked.append([t.run for t in chosen]) or [(True, "the same")] * len(chosen))
    assert main(["sweep", str(file), "--output", str(tmp_path), "--verify", "9"]) == 0
    assert sorted(asked[-1]) == sorted(task.run for task in tasks)
    assert capsys.readouterr().err == "note: all of these were recorded on another kind of processor, so the last bits may differ\n"
    records.write_json(tmp_path / "tiny" / f"{tasks[1].run}.json", found[1])
    assert main(["sweep", str(file), "--output", str(tmp_path), "--verify", "9"]) == 0
    assert asked[-1] == [tasks[1].run] and capsys.readouterr().err == ""


def test_a_run_given_out_again_after_its_record_was_stored_is_not_trained_again(swept, tmp_path):
    _, tasks, _, found = swept
    records.write_json(tmp_path / f"{tasks[0].run}.json", found[0] | {"seconds": {"total": 7e9}})
    assert run_task(tasks[0], tmp_path)["seconds"] == {"total": 7e9}
    assert [p.name for p in tmp_path.iterdir()] == [f"{tasks[0].run}.json"]


@pytest.mark.parametrize("what", ["ternary_lib", "NUMBERS", "torch"])
def test_a_worker_whose_numbers_would_be_others_is_refused(what):
    class Client:
        def run(self, makes_numbers):
            return {"first": makes_numbers(), "second": makes_numbers() | {what: "0.0.1"}}

    with pytest.raises(ConfigError, match=rf"^--scheduler tcp://one:8786: a worker has another {what} \(0\.0\.1\) than this process \("):
        sweeps._require_same_code(Client(), "tcp://one:8786")


def test_a_scheduler_that_is_not_there_is_refused(swept, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(sweeps, "CONNECT_SECONDS", 1)
    with pytest.raises(ConfigError, match="no scheduler answers there"):
        run_sweep(swept[1], tmp_path, scheduler="tcp://127.0.0.1:9", progress=False)


# --- the command line ----------------------------------------------------------------------------------------------


def test_sweep_and_compare_from_the_command_line(swept):
    path, _, store, _ = swept
    listed = ternary("sweep", path, "--output", store, "--list")
    assert listed.returncode == 0 and listed.stdout.count("recorded") == 4
    compared = ternary("compare", path, "--output", store, "--quiet", "--metrics", "rate", "--json")
    assert compared.returncode == 0, compared.stderr
    rows = json.loads(compared.stdout)
    assert [(r["variant"], r["pathway"], r["n"]) for r in rows] == [("random", "a", 2), ("random", "b", 2)]
    table = ternary("compare", path, "--output", store, "--quiet", "--reference", "random")
    assert table.returncode == 0 and "Against random (seeds 0, 1), paired by the n seeds in common" in table.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("sweep", "nowhere.yaml"), "nowhere.yaml: no such configuration file"),
        (("sweep", "configs/smoke.yaml"), "seeds: field required"),
        (("sweep", "configs/sweeps/ladder.yaml", "--only", "v5_9"), "v5_9: no variant of ladder (did you mean 'v5_"),
        (("sweep", "configs/sweeps/ladder.yaml", "--jobs", "0"), "--jobs 0: expected a whole number from 1 to 1000"),
        (("sweep", "configs/sweeps/ladder.yaml", "--verify", "0"), "--verify 0: expected a whole number from 1 to 1000"),
        (("compare", "configs/smoke.yaml"), "one configuration has nothing to be compared with"),
        (("compare", "configs/sweeps/ladder.yaml", "--metrics", "coverge"), "--metrics coverge: not known (did you mean 'coverage'"),
        (("compare", "configs/sweeps/ladder.yaml", "--reference", "v5_7"), "--reference v5_7: not known (did you mean 'v5_"),
        (("compare", "configs/sweeps/ladder.yaml", "--set", "seed=1"), "--set: a sweep file states its own overrides"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(arguments, words):
    done = ternary(*arguments)
    assert done.returncode == 2 and words in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


def test_one_seed_has_no_interval_and_says_so(swept):
    path, _, store, _ = swept
    done = ternary("compare", path, "--output", store, "--quiet", "--seeds", "0")
    assert done.returncode == 2 and "an interval takes at least two seeds in common with full, got 1" in done.stderr


def test_a_run_task_throws_its_folder_away_where_none_is_given(swept):
    _, tasks, _, found = swept
    assert isinstance(tasks[0], Task)
    assert run_task(tasks[0], None)["weights_sha256"] == found[0]["weights_sha256"]
