"""Tuned fixed weights: the grid as it was declared, the criterion by hand, and a winner only of a complete grid."""

import pytest

from ternary_lib import sweeps, tuning
from ternary_lib.config import ConfigError, load_config, parse_yaml
from ternary_lib.operations import NUM_OPERATIONS

TASKS = sweeps.load_sweep(tuning.SWEEP)


def record(task, a, b, early=1):
    """A record of a task whose counts are ``a`` and ``b`` in the last tenth, and ``early`` before."""
    n, epochs = task.config.evaluation.budgets[-1], [79, 89, 91, 99]
    history = {"epoch": epochs} | {f"{p}.coverage.argmax.{n}": [early, early, count, count] for p, count in (("a", a), ("b", b))}
    config = task.config.model_dump(mode="json")
    return {"variant": task.variant, "label": task.label, "seed": task.config.seed, "config": config, "history": history}


def test_the_grid_is_what_it_says():
    configs = {task.variant: task.config for task in TASKS}
    assert len(configs) == 12 and {task.config.seed for task in TASKS} == {100, 101, 102}
    bounds = load_config(tuning.PRODUCTION).balance.lambda_bounds
    for config in configs.values():
        assert config.schedules.total_epochs == 100
        assert all(low <= value <= high for value, (low, high) in zip(config.balance.lambdas, bounds, strict=True))
        assert config.balance.scale_bounds == (1, 1) and config.statenet.signal == "none"
        assert config.statenet.lambda_scale == config.statenet.lr_scale == 0
    assert len({(c.balance.lambdas, c.schedules.learning_rate.values) for c in configs.values()}) == 12


def test_the_tuning_seeds_are_reported_nowhere_else():
    others = {t.config.seed for name in ("ablations", "ladder", "peers") for t in sweeps.load_sweep(f"configs/sweeps/{name}.yaml")}
    assert not others & {task.config.seed for task in TASKS}


def test_a_rate_factor_scales_the_whole_schedule():
    base = load_config("configs/ternary_v5_5_fast.yaml").schedules.learning_rate.values
    for task in TASKS:
        factor = float(task.variant.rsplit("_", 1)[1])
        assert task.config.schedules.learning_rate.values == pytest.approx([factor * value for value in base])


def test_the_criterion_by_hand():
    """Half of all in A, none new in B: efficiencies ln 2/(195,000·5.0806e-5) = 0.069962 and 0, whatever came before the last tenth."""
    task = TASKS[0]
    for early in (1, NUM_OPERATIONS):
        assert tuning.score(record(task, NUM_OPERATIONS / 2, 0, early)) == pytest.approx(0.069962 / 2, abs=1e-5)


def test_the_best_mean_wins_whatever_a_single_seed_does():
    names = list(dict.fromkeys(task.variant for task in TASKS))
    best, lucky = names[4], names[7]
    counts = {best: [18_000] * 3, lucky: [19_600, 9, 9]}  # mean efficiencies 0.25 and 0.18
    found = [record(t, c, c) for t in TASKS for c in [counts.get(t.variant, [5_000] * 3)[t.config.seed - 100]]]
    assert tuning.winner(TASKS, found).variant == best
    assert tuning.ranking(list(reversed(found))) == tuning.ranking(found)


def test_a_part_of_the_grid_has_no_winner():
    found = [record(t, 5_000, 5_000) for t in TASKS[:-1]]
    with pytest.raises(ConfigError, match="35 of 36 runs are recorded"):
        tuning.winner(TASKS, found)


def test_the_winners_variant_is_the_production_run_with_its_weights():
    chosen = next(c for c in tuning.ranking([record(t, 9, 9) for t in TASKS]) if c.variant == "l_0.95_0.95_0.15_lr_0.5")
    (entry,) = parse_yaml("variants:\n" + tuning.as_variant(tuning.overrides(chosen)))["variants"].values()
    config = load_config(tuning.PRODUCTION, entry["set"])
    production = load_config(tuning.PRODUCTION)
    assert config.balance.lambdas == (0.95, 0.95, 0.15) and config.balance.scale_bounds == (1, 1)
    assert config.schedules.learning_rate.values == pytest.approx([v / 2 for v in production.schedules.learning_rate.values])
    assert config.schedules.total_epochs == 400
    assert config.statenet.signal == "none" and config.statenet.lambda_scale == 0


def test_a_winner_at_another_rate_enters_twice_and_one_at_the_same_rate_once():
    names = list(dict.fromkeys(task.variant for task in TASKS))

    def entered(order):
        found = [record(t, 19_000 - 500 * order.index(t.variant), 5_000) for t in TASKS]
        return tuning.entries(TASKS, found)

    fast, same, other = "l_0.7_0.7_0.3_lr_2", "l_0.5_0.5_0.75_lr_1", "l_0.95_0.5_0.3_lr_1"
    rest = [name for name in names if name not in (fast, same, other)]
    assert list(entered([same, fast, other, *rest])) == [tuning.VARIANT]
    both = entered([fast, other, same, *rest])
    assert list(both) == [tuning.VARIANT, tuning.WEIGHTS]
    first, second = (load_config(tuning.PRODUCTION, changes) for changes in both.values())
    assert (first.balance.lambdas, second.balance.lambdas) == ((0.7, 0.7, 0.3), (0.95, 0.5, 0.3))
    assert second.schedules.learning_rate == load_config(tuning.PRODUCTION).schedules.learning_rate
    assert tuning.is_entry(first, both[tuning.VARIANT]) and not tuning.is_entry(first, both[tuning.WEIGHTS])


def test_the_ablations_hold_the_grids_winners_and_none_before_it_is_complete():
    found = sweeps.recorded(TASKS)
    ours = {t.variant: t.config for t in sweeps.load_sweep("configs/sweeps/ablations.yaml") if t.variant in tuning.LABELS}
    expected = tuning.entries(TASKS, found) if len(found) == len(TASKS) else {}
    assert ours.keys() == expected.keys()
    assert all(tuning.is_entry(config, expected[name]) for name, config in ours.items())


def test_the_command_prints_the_ranking_the_winner_and_its_variant(tmp_path, monkeypatch, capsys):
    best = TASKS[0].variant
    found = [record(t, c, c) for t in TASKS for c in [18_000 if t.variant == best else 5_000]]
    monkeypatch.setattr(tuning.sweeps, "recorded", lambda tasks, root: found)
    assert tuning.main(["--output", str(tmp_path)]) == 0
    ranked, chosen = capsys.readouterr().out.split("\n\n")
    lines = ranked.splitlines()
    assert len(lines) == len({t.variant for t in TASKS}) and lines[0].split()[0] == "1" and "n = 3" in lines[0]
    assert "chosen on seeds 100, 101, 102" in chosen
    assert load_config(tuning.PRODUCTION, next(iter(parse_yaml(chosen.partition("\n")[2]).values()))["set"])


def test_the_command_refuses_in_one_line(tmp_path, capsys):
    assert tuning.main(["--output", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: tuning: 0 of 36") and error.count("\n") == 1
