"""The fuzzer itself: the same damage for the same seed, and what is neither read nor refused in one line is counted as a fault."""

import random

from benchmarks import fuzz
from ternary_lib.config import dump_config, load_config
from ternary_lib.strict_yaml import InputError

GOOD = dump_config(load_config("configs/smoke.yaml")).encode()


def test_the_same_seed_does_the_same_damage_and_nearly_always_does_some():
    made = [[fuzz.damaged(GOOD, random.Random(seed)) for seed in range(50)] for _ in range(2)]
    assert made[0] == made[1]
    assert sum(data != GOOD for data in made[0]) > 45


def test_configurations_are_read_or_refused(tmp_path):
    found = fuzz.measure("configuration", GOOD, ".yaml", load_config, 100, 0, tmp_path)
    assert found["faults"] == [] and found["refused"] + found["read"] == found["inputs"] == 100
    assert found["refused"] > 50


def test_anything_else_is_a_fault(tmp_path):
    calls = iter(range(10))

    def load(path):
        number = next(calls)
        if number == 1:
            raise KeyError("no line for the user")
        if number == 2:
            raise InputError("two\nlines")

    found = fuzz.measure("broken", GOOD, ".yaml", load, 4, 0, tmp_path)
    assert [fault.split(":")[0] for fault in found["faults"]] == ["input 0", "input 1"]
    assert "KeyError" in found["faults"][0] and "more than one short line" in found["faults"][1]
