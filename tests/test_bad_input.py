"""Mistakes, made from the schemas: every key of a configuration and of a notebook's parameters, wrong in every way that it can be.

Each gets one line that names the key and what was expected; none is passed over, and nothing is left behind.
"""

import difflib
import json
import math
import types
import typing

import pytest
from micro import ternary
from pydantic import BaseModel

from ternary_lib import notebooks
from ternary_lib.config import Config, ConfigError, InputError, config_from_mapping, dump_config, load_config
from ternary_lib.sections import PriorMatchingConfig

MATCHED = {"prior_matching": PriorMatchingConfig().model_dump(mode="json")}


def leaves(section, prefix=""):
    """(dotted key, field) of every leaf of a section's schema; an optional section counts as one that is given."""
    for name, field in section.model_fields.items():
        inner = [kind for kind in kinds(field.annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if inner:
            yield from leaves(inner[0], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def kinds(annotation):
    """The alternatives of an annotation, ``Annotated`` unwrapped."""
    if typing.get_origin(annotation) is typing.Annotated:
        return kinds(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [kind for part in typing.get_args(annotation) for kind in kinds(part)]
    return [annotation]


LEAVES = dict(leaves(Config))


def misspelt(key):
    """The key with its last word's middle letters swapped, or one letter doubled where that changes nothing."""
    head, _, last = key.rpartition(".")
    i = max(0, len(last) // 2 - 1)
    swapped = last[:i] + last[i : i + 2][::-1] + last[i + 2 :]
    return f"{head}.".lstrip(".") + (swapped if swapped != last else last[:1] + last)


def wrong_values(field):
    """Values that the field cannot have, by the fault."""
    allowed = kinds(field.annotation)
    origins = {typing.get_origin(kind) or kind for kind in allowed}
    found = {"a mapping": {"a": 1}, "a list of texts": ["x", "y"]}
    if types.NoneType not in allowed:
        found["nothing"] = None
    if str not in origins:
        found["a text"] = "many"
    if bool not in origins:
        found["yes"] = True
    if origins & {int, float}:
        found |= {"not a number": math.nan, "without end": math.inf, "a list": [1]}
        if int in origins and float not in origins:
            found["a fraction"] = 1.5
    if typing.Literal in origins:
        found["another word"] = "nothing of the kind"
    if bool in origins:
        found["a number"] = 2
    return found


CASES = [(key, fault, value) for key, field in LEAVES.items() for fault, value in wrong_values(field).items()]


def refused(data):
    """The line that a configuration is refused with."""
    with pytest.raises(ConfigError) as caught:
        config_from_mapping(data, origin="mine.yaml")
    line = str(caught.value)
    assert line.startswith("mine.yaml: ") and "\n" not in line and len(line) < 400
    return line


def with_key(key, value):
    """A configuration with one key changed."""
    data = json.loads(json.dumps(MATCHED))
    *parents, last = key.split(".")
    place = data
    for part in parents:
        place = place.setdefault(part, {})
    place[last] = value
    return data


def test_there_are_enough_of_them():
    assert len(LEAVES) > 60
    assert len(CASES) + len(LEAVES) >= 400


@pytest.mark.parametrize("key", LEAVES)
def test_a_misspelt_key_is_refused_with_the_one_that_was_meant(key):
    wrong = misspelt(key)
    line = refused(with_key(wrong, 1))
    assert f"{wrong}: unknown key" in line
    meant = key.rpartition(".")[2]
    siblings = [name.rpartition(".")[2] for name in LEAVES if name.rpartition(".")[0] == key.rpartition(".")[0]]
    if difflib.get_close_matches(wrong.rpartition(".")[2], siblings, n=1, cutoff=0.5) == [meant]:
        assert f"did you mean '{meant}'?" in line


@pytest.mark.parametrize(("key", "fault", "value"), CASES, ids=[f"{key}: {fault}" for key, fault, _ in CASES])
def test_a_wrong_value_is_refused_by_its_key(key, fault, value):
    line = refused(with_key(key, value))
    assert key in line or fault in ("not a number", "without end"), line  # JSON itself has neither


BOUNDED = {
    "data.train": 0, "model.latent_dim": 0, "model.decoder_b_blocks": -1, "schedules.total_epochs": 0, "schedules.rho.start": 1.01,
    "schedules.rho.gate_low": -0.1, "schedules.rho.ramp_epochs": 0, "schedules.tau_a.start": 0, "schedules.tau_a.period": 0,
    "schedules.tau_b.boost": 0, "schedules.beta.start": -0.1, "schedules.learning_rate.values": [0.001, 0, 1, 1, 1, 1, 1, 1],
    "schedules.learning_rate.milestones": [3, 2, 1], "schedules.phases": [3, 2, 1], "loss.repulsion_sigma": 0, "loss.latent_bins": 1,
    "prior_matching.draws": 0, "prior_matching.from_phase": 5, "prior_matching.memory": 1, "balance.momentum": 1.5,
    "balance.lambdas": [0.1, 0.7, 0.3], "balance.scale_bounds": [2, 1], "statenet.lr_bounds": [1, 0.1], "training.batch_size": 0,
    "training.grad_clip": 0, "evaluation.every": 0, "evaluation.budgets": [20, 10], "evaluation.final_draws": 1, "seed": -1,
    "name": "../up",
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), BOUNDED.items(), ids=BOUNDED)
def test_a_value_out_of_its_bounds_is_refused_by_its_section(key, value):
    assert key.rpartition(".")[0].partition(".")[0] in refused(with_key(key, value))


PARAMETERS = [
    (path.stem, name, parameter)
    for path in notebooks.list_notebooks()
    for name, parameter in notebooks.read_parameters(path).items()
]


@pytest.mark.parametrize(("notebook", "name", "parameter"), PARAMETERS, ids=[f"{n}: {p}" for n, p, _ in PARAMETERS])
def test_a_notebook_s_parameter_of_another_type_or_name_is_refused(notebook, name, parameter):
    path = notebooks.find_notebook(notebook)
    wrong = {"x": 1} if not isinstance(parameter.default, dict) else [1]
    for values, words in (({name: wrong}, name), ({misspelt(name): parameter.default}, f"did you mean {name!r}")):
        with pytest.raises(InputError) as caught:
            notebooks.check_parameters(path, values)
        assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("schedules.tau_a.bost=0.4", "did you mean 'boost'"),
        ("schedules.tau_a.boost=high", "schedules.tau_a.boost"),
        ("schedules.tau_a.boost", "expected KEY=VALUE"),
        ("training.batch_size=64.5", "training.batch_size"),
        ("=1", "expected KEY=VALUE"),
        ("schedules..boost=1", "dotted key"),
        ("seed={a: 1", "--set"),
    ],
)
def test_the_command_says_it_in_one_line_and_leaves_nothing(tmp_path, text, words):
    done = ternary("train", "--config", "configs/smoke.yaml", "--run-dir", tmp_path / "run", "--set", text)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_made_by_hand_is_checked_like_any_other(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(dump_config(load_config("configs/smoke.yaml")).replace("total_epochs", "total_epoch", 1))
    with pytest.raises(ConfigError, match="did you mean 'total_epochs'"):
        load_config(path)
