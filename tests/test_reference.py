"""Reference runs, the smoke run among them: a change that moves a number must say so by raising ``records.NUMBERS``.

Bits are compared on the kinds of machine that ``reference.json`` knows, figures on every other. On a new kind, or after a declared change:
python tests/test_reference.py
"""

import json
from functools import cache
from pathlib import Path

import pytest
from micro import micro_config

from ternary_lib import records
from ternary_lib.config import load_config
from ternary_lib.training import train

FILE = Path(__file__).with_name("reference.json")
SIZE = {"schedules__total_epochs": 2, "schedules__phases": [0, 1, 1], "data__train": 768}
RUNS = {
    "smoke": None,  # configs/smoke.yaml as it is
    "described": {},
    "hypergradient": {"statenet__signal": "hypergradient", "statenet__penalty": 0.0, "model__stop_gradient": False},
    "published": {
        key.replace(".", "__"): value
        for key, value in {
            "schedules.rho.gate": "fall_back",
            "schedules.lambda_3": load_config("configs/ternary_v5_5_published.yaml").model_dump(mode="json")["schedules"]["lambda_3"],
            "loss.repulsion": "off_diagonal",
            "loss.latent_entropy": "hard",
            "balance.lambda_step": 0.02,
            "balance.initial_norm": 1.0,
            "balance.norm_after_clip": True,
            "statenet.signal": "random",
        }.items()
    },
}
EPOCH = {"smoke": 0}  # that figures are of: its rates are high, and its second epoch's differ by 10 % where rounding does
COLUMNS = ("train.total", "train.kl_b", "validation.total", "lambda_1", "a.rate", "b.distortion")
LOOSE = {"smoke": {"train.kl_b": 0.06}}  # of a small KL: twice what MKL_CBWR=COMPATIBLE and ATEN_CPU_CAPABILITY=default do
CHANCE = {"smoke": {"a.rate"}}  # a hundredth of a nat that rounding alone puts between 0.0082 and 0.0107: bits alone can be compared


def machine_kind():
    """What decides the last bit beside the code: the processor's make, by family and model, and torch."""
    wanted = ("vendor_id", "cpu family", "model")
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    fields = {}
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in wanted:
            fields.setdefault(key.strip(), value.strip())
    return " ".join(fields.get(key, "?") for key in wanted) + f", torch {records.versions()['torch'].split('+')[0]}"


def measured(name, run_dir):
    """A reference run's weights, and figures of an early epoch: later, rounding has made two machines' runs two runs."""
    config = load_config("configs/smoke.yaml") if RUNS[name] is None else micro_config(**(SIZE | RUNS[name]))
    run = train(config, run_dir, progress=False)
    return {"weights_sha256": run.record["weights_sha256"], "figures": {key: run.history[key][EPOCH.get(name, 1)] for key in COLUMNS}}


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    """Each reference run, made once."""
    return cache(lambda name: measured(name, tmp_path_factory.mktemp(name) / "run"))


@pytest.mark.parametrize("name", RUNS)
def test_a_reference_run_gives_its_figures_on_any_machine(name, again):
    reference, now = json.loads(FILE.read_text()), again(name)["figures"]
    assert reference["numbers"] == records.NUMBERS, "NUMBERS was raised: make tests/reference.json anew"
    for runs in reference["machines"].values():
        figures = runs.get(name, {}).get("figures", {})
        for column in figures.keys() - CHANCE.get(name, set()):
            figure = figures[column]
            assert now[column] == pytest.approx(figure, rel=LOOSE.get(name, {}).get(column, 0.02)), column  # on both sides


@pytest.mark.parametrize("name", RUNS)
def test_a_reference_run_gives_its_bits_on_a_kind_of_machine_that_is_known(name, again):
    known = json.loads(FILE.read_text())["machines"].get(machine_kind(), {})
    if name not in known:
        pytest.skip(f"no bits of {name} are known of {machine_kind()}; python tests/test_reference.py adds them")
    assert again(name) == known[name], "other bits: raise records.NUMBERS if this is meant, and make tests/reference.json anew"


def test_no_reference_run_is_missing_or_forgotten():
    kinds = list(json.loads(FILE.read_text())["machines"].values())
    assert all(runs.keys() <= RUNS.keys() for runs in kinds) and any(runs.keys() == RUNS.keys() for runs in kinds)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        made = {name: measured(name, Path(folder) / name) for name in RUNS}
    known = json.loads(FILE.read_text())
    others = known["machines"] if known["numbers"] == records.NUMBERS else {}  # those of other numbers have to be made anew, too
    FILE.write_text(json.dumps({"numbers": records.NUMBERS, "machines": others | {machine_kind(): made}}, indent=1) + "\n")
