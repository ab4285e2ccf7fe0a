"""Sweeps of configuration files and their overrides, and the records a page may show."""

import pytest

from ternary_lib import records, sweeps
from ternary_lib.config import ConfigError

SMOKE, OFF = "configs/smoke.yaml", {"statenet.signal": "none"}


def variants(*arguments):
    return list(dict.fromkeys(task.variant for task in sweeps.of_configs(*arguments)))


def test_one_configuration_by_two_paths_counts_once_and_a_seed_is_given_once():
    assert sweeps.of_configs([SMOKE, f"configs/../{SMOKE}"], [0, 1]) == sweeps.of_configs([SMOKE], [0, 1])
    with pytest.raises(ConfigError, match=r"^seeds 0 1 0: each is to be given once$"):
        sweeps.of_configs([SMOKE], [0, 1, 0])


def test_one_mapping_is_for_all():
    tasks = sweeps.of_configs([SMOKE, "configs/ternary_v5_5_fast.yaml"], [3, 4], OFF)
    assert [(t.variant, t.config.seed) for t in tasks] == [(name, seed) for seed in (3, 4) for name in ("smoke", "ternary_v5_5_fast")]
    assert {t.config.statenet.signal for t in tasks} == {"none"}


def test_a_configuration_against_its_changed_self():
    same, changed = tasks = sweeps.of_configs([SMOKE, SMOKE], [0], [{}, OFF])
    assert tasks == sweeps.of_configs([SMOKE, SMOKE], [0], ["{}", "{statenet.signal: none}"])
    assert same.variant == "smoke" and changed.variant.startswith("smoke-") and len(changed.variant) == len("smoke-") + 6
    assert (same.config.statenet.signal, changed.config.statenet.signal) == ("loss", "none")
    assert same.run != changed.run
    assert changed.label == "smoke, statenet.signal = none" and same.label == "smoke"


def test_its_name_depends_on_nothing_but_the_configuration():
    alone, longer = variants([SMOKE, SMOKE], [0], [{}, OFF]), variants([SMOKE, "configs/ladder/v5_1.yaml", SMOKE], [5, 6], [{}, {}, OFF])
    assert alone[1] == longer[2]
    other = variants([SMOKE, SMOKE], [0], [{}, {"statenet.signal": "random"}])
    assert other[1] != alone[1]


def test_the_same_twice_is_once():
    assert variants([SMOKE, SMOKE], [0]) == ["smoke"]
    assert variants([SMOKE, SMOKE], [0], [OFF, OFF]) == ["smoke"]


def test_overrides_must_be_as_many_as_configurations():
    with pytest.raises(ConfigError, match="1 mappings of overrides for 2"):
        sweeps.of_configs([SMOKE, SMOKE], [0], [OFF])


def stored(task, root, **more):
    record = records.load_record("ternary_v6_seed42")  # another run's, as of this one
    record |= {"config": task.config.model_dump(mode="json"), "variant": task.variant, "seed": task.config.seed}
    path = sweeps.store_of(task, root) / f"{task.run}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    records.write_json(path, record | {"numbers": records.NUMBERS, "versions": records.versions()} | more)


def test_a_page_shows_records_made_under_another_torch(tmp_path):
    """They are what the book reports, though a sweep would make them again here."""
    tasks = sweeps.of_configs([SMOKE], [0, 1, 2])
    stored(tasks[0], tmp_path, versions=records.versions() | {"torch": "1.0"})
    stored(tasks[1], tmp_path)
    assert [r["seed"] for r in sweeps.recorded(tasks, tmp_path)] == [0, 1]
    assert [sweeps.stored(t, tmp_path) is not None for t in tasks] == [False, True, False]


def test_a_page_shows_no_record_of_another_experiment(tmp_path):
    (task,), (other,) = sweeps.of_configs([SMOKE], [0]), sweeps.of_configs([SMOKE], [0], {"loss.free_bits": 0.5})
    assert task.run == other.run
    stored(other, tmp_path)
    assert sweeps.recorded([task], tmp_path) == []
    assert sweeps.recorded([other], tmp_path) != []
    sweeps.store_of(task, tmp_path).joinpath(f"{task.run}.json").write_text("{}")
    with pytest.raises(ConfigError, match=f"{task.run}.json: no record of a run: name: field required"):
        sweeps.recorded([task], tmp_path)
